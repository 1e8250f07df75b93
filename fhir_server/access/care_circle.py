"""Who takes part in a patient's care, by the patient's CareTeam, and who is the attending doctor in it.

The care circle is the truth, ``Patient.generalPractitioner`` its projection. Spec: https://interop.esante.gouv.fr/ig/fhir/cds
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from fhir_server.access.periods import covers

IsCaller = Callable[[Mapping[str, Any]], bool]
_ATTENDING = "PCP"


def members_in_force(circle: Mapping[str, Any], is_meant: IsCaller, now: datetime) -> list[Mapping[str, Any]]:
    """Return the participations in force of whom ``is_meant`` tells by a Reference."""
    if circle.get("status") != "active" or not covers(circle.get("period", {}), now):
        return []
    return [
        one
        for one in circle.get("participant", ())
        if (is_meant(one.get("member", {})) or is_meant(one.get("onBehalfOf", {})))
        and covers(one.get("period", {}), now)
    ]


def is_attending(member: Mapping[str, Any]) -> bool:
    """Say whether a participation is that of the attending doctor (médecin traitant)."""
    return any(coding.get("code") == _ATTENDING for concept in _roles(member) for coding in concept.get("coding", ()))


def _roles(member: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    roles: Iterable[Mapping[str, Any]] = member.get("role", ())
    return roles
