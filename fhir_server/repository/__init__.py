"""The door to clinical data, bound to one caller: authorise, validate, compile, store, audit.

Owns: what a read and a write are, the plan of a write, integrity. Does not own: HTTP, statuses of interactions.
Reads and writes: everything, through storage.store. Spec: http://hl7.org/fhir/R4/http.html#ops
"""
