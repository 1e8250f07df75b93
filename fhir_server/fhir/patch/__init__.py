"""The three ways in which R4 lets a client change a part of a resource.

Owns: JSON Patch, XML Patch and FHIRPath Patch, all or nothing, on a copy of the resource. Does not own: the patch
interaction (interactions), whether the outcome is valid (validation). Reads: resources as plain dicts. Writes: nothing.
Spec: http://hl7.org/fhir/R4/http.html#patch, http://hl7.org/fhir/R4/fhirpatch.html, RFC 6902, RFC 5261
"""
