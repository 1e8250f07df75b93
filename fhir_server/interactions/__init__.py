"""The FHIR RESTful interactions, one module per interaction code.

Owns: what each interaction means, status codes, headers. Does not own: HTTP (rest), authority (repository).
Reads and writes: through the repository alone. Spec: http://hl7.org/fhir/R4/http.html
"""
