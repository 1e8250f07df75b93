"""Binaries: anybody who may write puts content here; who reads it is decided by the resource that carries it.

The repository asks the carriers; this rule speaks of content that nothing carries yet, which is its depositor's alone.
Spec: http://hl7.org/fhir/R4/binary.html#security
"""

from fhir_server.access.facts import Facts
from fhir_server.access.rule import Action, Rule
from fhir_server.search.ast import Everything, InOpenRecord, OwnedBy, TypeIs
from fhir_server.search.building import build_and

_DEPOSITORS = frozenset({"patient", "representative", "professional", "system"})
_OF_MANY = frozenset({"professional", "system"})
_BY_ID = frozenset({"read", "update", "patch", "delete", "refer"})


def content(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Depositors create content, and read, replace and delete what they put here."""
    if resource_type != "Binary" or facts.caller.kind not in _DEPOSITORS or not facts.own_keys:
        return None
    if facts.caller.kind in ("patient", "representative") and not _acts_in_own_record(facts):
        return None
    if action == "create":
        return Rule("content", TypeIs(("Binary",)))
    if action not in _BY_ID:
        return None
    # Holders and representatives have but one record, which is open.
    record = InOpenRecord() if facts.caller.kind in _OF_MANY else Everything()
    return Rule("content", build_and([TypeIs(("Binary",)), OwnedBy(facts.own_keys), record]))


def _acts_in_own_record(facts: Facts) -> bool:
    """Say whether the holder's record is open, and whoever represents them still does."""
    own = facts.own
    return own is not None and own.open and (facts.caller.kind == "patient" or own.represented)
