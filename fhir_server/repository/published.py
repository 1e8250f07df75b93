"""What the server publishes of itself is written at its start and by nobody else.

Spec: http://hl7.org/fhir/R4/operationdefinition.html
"""

from collections.abc import Collection, Iterable

from fhir_server.access.caller import Caller
from fhir_server.errors import Forbidden, Text

_PUBLISHED = Text(
    "The server itself publishes this definition: nobody changes or deletes it",
    "Le serveur publie lui-même cette définition : personne ne la modifie ni ne la supprime",
)


def check_published(changed: Iterable[str], published: Collection[str], caller: Caller) -> None:
    """Raise ``Forbidden`` when one of the references that are changed is the server's own; its start may."""
    if caller.kind != "local" and any(reference in published for reference in changed):
        raise Forbidden(_PUBLISHED)
