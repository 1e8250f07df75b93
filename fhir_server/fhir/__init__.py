"""The FHIR R4 data model: definitions, references, JSON, XML, decimals, FHIRPath.

Owns: the only code that knows how a resource is shaped and walked, and the compiled definitions (``r4.bin``).
Does not own: what a server accepts (``validation``), finds (``search``) or keeps (``storage``).
Reads: its own data file. Writes: nothing; everything here is pure.
Spec: http://hl7.org/fhir/R4/datatypes.html, http://hl7.org/fhir/R4/resourcelist.html
"""
