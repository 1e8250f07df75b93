"""Brings files of records into a server, over HTTP or straight into its store, safely twice.

Owns: reading files, what is sent for them, who sends it, the report. Does not own: what the server makes of it.
Reads and writes: files; a server. Spec: http://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/uv/bulkdata/
"""
