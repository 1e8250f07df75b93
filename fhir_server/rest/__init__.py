"""The HTTP edge of ``/fhir``: bytes in, bytes out, and everything that HTTP alone is about.

Owns: negotiation, header values, bodies, CORS, logs, metrics, health, the error shape. Does not own: what an
interaction does (interactions), who may do it (access). Reads and writes: nothing but the socket and the log.
Spec: http://hl7.org/fhir/R4/http.html
"""
