"""The functions of FHIRPath, one module per chapter of the specification; ``registry.FUNCTIONS`` lists them all.

Owns: what each function does. Does not own: operators (``arithmetic``, ``equality``), ``is`` and ``as`` (``compiler``).
Reads: the nodes given. Writes: nothing.
Spec: http://hl7.org/fhirpath/N1/#functions, http://hl7.org/fhir/R4/fhirpath.html#functions
"""
