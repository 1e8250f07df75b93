"""A hospital's or another structure's own software feeds open records, and keeps there what it has put there.

R1111-47 (feeding), R1111-49 (what is masked stays visible to who put it here); L1111-15.
"""

from fhir_server.access.caller import Caller
from fhir_server.access.facts import Facts, caller_keys
from fhir_server.access.resource_groups import PUBLIC, RIGHTS, TRAIL
from fhir_server.access.rule import READING, Action, Rule
from fhir_server.search.ast import Everything, InOpenRecord, Node, OfNoPatient, OwnedBy, PatientIs, TypeIs
from fhir_server.search.building import build_and, build_or

_NEVER = RIGHTS | PUBLIC


def structure(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Backend services create in open records, and read, correct and delete there what they created."""
    if facts.caller.kind != "system" or resource_type in _NEVER:
        return None
    own = build_and([TypeIs((resource_type,)), OwnedBy(caller_keys(facts.caller)), within_context(facts.caller)])
    if action in READING or action == "refer":
        # What tells of who did what stays told when the record is closed: it is of no record.
        return Rule("structure", own if resource_type == "AuditEvent" else build_and([own, InOpenRecord()]))
    if resource_type in TRAIL and action != "create":
        return None
    fed = build_and(
        [PatientIs(tuple(record.patient for record in facts.records if record.open)), within_context(facts.caller)]
    )
    if resource_type == "AuditEvent":
        return Rule("structure", TypeIs(("AuditEvent",)))
    return Rule(
        "structure", build_and([fed, TypeIs((resource_type,))]) if action == "create" else build_and([fed, own])
    )


def within_context(caller: Caller) -> Node:
    """Return what a service may touch whose token is about one patient (IUA's ``person_id``): no other's record."""
    if caller.patient is None:
        return Everything()
    return build_or([PatientIs((f"Patient/{caller.patient}",)), OfNoPatient()])


def identity(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Who feeds records may refer to a patient by identity without reading anything of them."""
    if facts.caller.kind not in ("system", "professional") or resource_type != "Patient" or action != "refer":
        return None
    return Rule("identity", TypeIs(("Patient",)))
