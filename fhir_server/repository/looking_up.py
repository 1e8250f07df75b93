"""How far the criteria of a conditional reference look, so that trying them out tells of nobody.

Whoever feeds records may refer to a patient whose identity they know (R1111-47), though they may read nothing of the
record. What else a Patient says is not known by referring to it: a birth date, an address could be guessed that way.
Spec: http://hl7.org/fhir/R4/http.html#trules (conditional references)
"""

from urllib.parse import parse_qsl

from fhir_server.access.resource_groups import PUBLIC
from fhir_server.access.rule import Action
from fhir_server.repository.change import Criteria

_IDENTITY = frozenset({"_id", "identifier"})


def to_action(criteria: Criteria) -> Action:
    """Return as what the criteria look: ``refer`` for what is public and for an identity, else ``search``."""
    if criteria.resource_type in PUBLIC:
        return "refer"
    return "refer" if criteria.resource_type == "Patient" and _is_identity(criteria) else "search"


def _is_identity(criteria: Criteria) -> bool:
    """Say whether nothing but ids or whole identifiers are asked for; a system alone is no identity."""
    asked = parse_qsl(criteria.key.partition("?")[2], keep_blank_values=True)
    if len(asked) != 1 or asked[0][0] not in _IDENTITY:
        return False
    return not any(one.endswith("|") for one in asked[0][1].split(","))
