"""The FHIR operations, one file each; dropping a file in publishes it.

Owns: what each ``$operation`` does. Does not own: the registry and its routes (interactions.operation).
Reads and writes: through the repository. Spec: http://hl7.org/fhir/R4/operations.html
"""
