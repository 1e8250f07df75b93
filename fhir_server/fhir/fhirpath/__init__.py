"""FHIRPath N1 on FHIR R4 resources, of this project's own making.

Owns: the language (lexer, parser), its compilation to closures, its functions, its values and their budget.
Does not own: validation of resources, what search indexes are made of, terminologies, the fetching of references: these
are passed in (``resolver``, ``member_of``, ``conforms_to``).
Reads: resources as plain dicts, ``fhir.definitions``. Writes: nothing.
Enter by ``expression.compile_expression``; ``nodes.Node`` is what an evaluation returns.
Spec: http://hl7.org/fhirpath/N1/, http://hl7.org/fhir/R4/fhirpath.html
"""
