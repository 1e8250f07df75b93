"""Who may put on or take off security labels: never who gains by it.

R1111-49: holders mask and unmask. R1111-50, R1111-53: professionals hide something from a patient or from a minor's
representatives, and show it again; it is theirs to do on what they have put here.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.access.facts import Facts
from fhir_server.access.labels import MASKED, is_about_confidentiality


def may_relabel(facts: Facts, document: Mapping[str, Any], labels: frozenset[str]) -> bool:
    """Say whether the caller may put these labels (``system|code``) on, or take them off, this index document."""
    if not labels or facts.caller.trusted:
        return True
    owned = not set(facts.own_keys).isdisjoint(document.get("o", ()))
    match facts.caller.kind:
        case "patient" | "representative":
            return owned and all(label in MASKED or is_about_confidentiality(label) for label in labels)
        case "professional" | "system":
            return owned
        case _:
            return False
