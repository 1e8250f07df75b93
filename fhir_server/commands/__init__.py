"""What each command of ``fhir-server`` does, behind the thin layer of options in ``cli``.

Owns: serving, loading, checking, writing conformance/, the demo record. Does not own: options and help (cli).
Reads and writes: files, the terminal, the store through app. Spec: http://hl7.org/fhir/R4/http.html#transaction
"""
