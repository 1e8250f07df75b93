"""The AuditEvent for every access: who saw or changed what, when, why, and by which rule.

Owns: the shape of AuditEvents, their order and seal, the holder's view of them. Does not own: who may do what (access),
when something is noted (repository, rest). Reads and writes: the collection ``audit``, append-only,
through storage, and the counts of ``repeats``.
Spec: http://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP/
"""
