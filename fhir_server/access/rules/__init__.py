"""The rules, one file each; the file's name is the rule's name in AuditEvents.

Owns: who may do what to which resources. Does not own: scopes and how rules are joined (``policy``).
Reads and writes: nothing. Spec: code de la santé publique, L1111-13 to L1111-21, R1111-26 to R1111-53.
"""
