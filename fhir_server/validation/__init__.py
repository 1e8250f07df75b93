"""What makes a resource acceptable: its structure by R4's definitions, later also profiles, invariants and bindings.

Owns: every check of a resource's content, and the texts that name what is wrong with it.
Does not own: parsing (``fhir``), authority (``access``), whether referenced resources exist (``repository``).
Reads: the compiled definitions. Writes: nothing; a check changes no resource.
Spec: http://hl7.org/fhir/R4/validation.html
"""
