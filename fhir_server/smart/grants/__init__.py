"""The grants of the token endpoint, one file each.

Owns: what each grant checks and issues. Does not own: the endpoints. Reads and writes: through the parts of ``smart``.
Spec: https://www.rfc-editor.org/rfc/rfc6749#section-4
"""
