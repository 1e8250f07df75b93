"""Who may do what: one policy, compiled into every query.

Owns: callers, policies, decisions. Does not own: tokens (smart), enforcement (repository).
Reads and writes: nothing; facts are handed in. Spec: http://hl7.org/fhir/R4/security.html
"""
