"""Checks of a Reference that need no other resource: it says something, and points to a type that may stand there.

Spec: http://hl7.org/fhir/R4/references.html
"""

import re
from collections.abc import Iterable
from typing import Any

from fhir_server.errors import Text
from fhir_server.fhir.definitions import is_resource_type
from fhir_server.validation.findings import Check, Problem, Problems, required_problem, value_problem

# A literal or conditional reference to this server: "Patient/1", "Patient?identifier=…".
_TYPED = re.compile(r"([A-Z][A-Za-z]+)[/?]").match
_CONTENT = frozenset({"reference", "identifier", "display", "_reference", "_display", "extension"})

_SAYS_NOTHING = Text(
    "A reference must have at least one of reference, identifier and display.",
    "Une référence doit avoir au moins l’un de reference, identifier et display.",
)
_UNKNOWN_TYPE = Text(
    "The type of a reference must be the name of a resource type or an absolute URL.",
    "Le type d’une référence doit être le nom d’un type de ressource ou une URL absolue.",
)
_TYPES_DIFFER = Text(
    "The reference does not point to the type that it states.",
    "La référence ne désigne pas le type qu’elle indique.",
)


def reference_check(check_shape: Check, targets: frozenset[str]) -> Check:
    """Return the check of one Reference of an element that may point to the given types (``Resource``: to any)."""
    allowed = frozenset[str]() if "Resource" in targets else targets

    def check(value: Any) -> Problems | None:
        problems = check_shape(value)
        if problems is not None:
            return problems
        if "reference" in value and "type" not in value:
            typed = _TYPED(value["reference"])
            if typed is None or typed[1] in allowed:
                return None
        return list(_find_faults(value, allowed)) or None

    return check


def _find_faults(value: dict[str, Any], allowed: frozenset[str]) -> Iterable[Problem]:
    stated, typed = value.get("type"), _TYPED(value.get("reference", ""))
    if _CONTENT.isdisjoint(value):
        yield required_problem(_SAYS_NOTHING)
    if typed and not _may_stand(typed[1], allowed):
        yield value_problem(_wrong_target(allowed), ".reference")
    if stated is None:
        return
    if not is_resource_type(stated) and ":" not in stated:
        yield value_problem(_UNKNOWN_TYPE, ".type")
    elif not _may_stand(stated, allowed):
        yield value_problem(_wrong_target(allowed), ".type")
    elif typed and is_resource_type(typed[1]) and is_resource_type(stated) and stated != typed[1]:
        yield value_problem(_TYPES_DIFFER)


def _may_stand(name: str, allowed: frozenset[str]) -> bool:
    return not allowed or name in allowed or not is_resource_type(name)


def _wrong_target(allowed: frozenset[str]) -> Text:
    names = ", ".join(sorted(allowed))
    return Text(
        f"The reference points to a type that is not one of those allowed here: {names}.",
        f"La référence désigne un type qui n’est pas de ceux permis ici : {names}.",
    )
