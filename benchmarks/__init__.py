"""Puts any FHIR server through the same work over HTTP, beside the limits of the machine it runs on.

Owns: the work, the clients, the table. Does not own: the server. Reads: files of Synthea, a base URL.
Writes: what the work creates on that server. Spec: http://hl7.org/fhir/R4/http.html
"""
