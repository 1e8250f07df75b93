"""Types that are kept apart from all others, in a collection of their own: AuditEvents.

Every request writes them and nobody changes them; among the clinical data they would soon be the most of it. So a
search of all types leaves them out, and so does what brings everything along (``_revinclude=*``) or a chain that names
no type. Asked for by name they are found like others, by their own policy: ``_has:AuditEvent:entity:…``,
``_revinclude=AuditEvent:entity``.
"""

from fhir_server.errors import NotSupported, Text

APART_TYPES = frozenset({"AuditEvent"})


def check_changing(resource_type: str) -> None:
    """Raise ``NotSupported`` for a type that nothing is written to on a condition."""
    if resource_type in APART_TYPES:
        raise NotSupported(_NO_CONDITION)


_NO_CONDITION = Text(
    "AuditEvents are only ever added: nothing is written to them on a condition",
    "les AuditEvents ne font que s’ajouter : rien n’y est écrit sous condition",
)
