"""Types that are kept apart from all others, in a collection of their own: AuditEvents.

Every request writes them and nobody changes them; among the clinical data they would soon be the most of it. So a
search of all types leaves them out, and what others are asked by way of them (``_has``, ``_revinclude``, chains into
them) is refused: it would tell who was looked at by whom.
"""

from fhir_server.errors import NotSupported, Text

APART_TYPES = frozenset({"AuditEvent"})


def check_joined(resource_type: str | None) -> None:
    """Raise ``NotSupported`` for a type that other types cannot be searched by."""
    if resource_type in APART_TYPES:
        raise NotSupported(_NOT_JOINED)


_NOT_JOINED = Text(
    "AuditEvents are kept apart: search for them themselves (AuditEvent?entity=…), not for others by way of them",
    "les AuditEvents sont conservés à part : cherchez-les eux-mêmes (AuditEvent?entity=…), et non d’autres par eux",
)
