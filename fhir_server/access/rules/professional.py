"""Professionals see records that they take part in or were let into, as far as their profession goes.

Domain rules: L1110-4, R1111-46 (the care team is deemed permitted, others are permitted by name), the matrix of the
order of 26 October 2023, R1111-49 (what is masked stays visible to who put it here), R1111-47 (feeding is not blocked
by a missing permission to consult).
"""

from collections.abc import Iterator

from fhir_server.access.consents import prevail
from fhir_server.access.facts import Facts, RecordFacts, caller_keys
from fhir_server.access.labels import UNMASKED
from fhir_server.access.matrix import Habilitation, find_habilitation
from fhir_server.access.naming import naming
from fhir_server.access.resource_groups import APPOINTMENTS, CONVERSATIONS, PUBLIC, RIGHTS, TRAIL
from fhir_server.access.rule import READING, Action, Rule
from fhir_server.search.ast import Everything, InOpenRecord, Node, Nothing, OwnedBy, PatientIs, TypeIs
from fhir_server.search.building import build_and, build_or

_TREATMENT = "TREAT"
_PURPOSES = {"bris_de_glace": "BTG", "centre_15": "ETREAT"}
_PARTICIPANTS = {
    "Communication": ("Communication.sender", "Communication.recipient"),
    "CommunicationRequest": ("CommunicationRequest.sender", "CommunicationRequest.recipient"),
    "Appointment": ("Appointment.actor",),
    "AppointmentResponse": ("AppointmentResponse.actor",),
}
_NEVER_READ = frozenset({"AuditEvent", "Person"})
_READ_OF_RIGHTS = frozenset({"Patient", "RelatedPerson", "CareTeam"})
_DEPOSITED = RIGHTS | TRAIL | PUBLIC | CONVERSATIONS


def professional(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Professionals read the records they may consult, by the matrix, consents and masks."""
    row = find_habilitation(facts.caller.profession)
    if facts.caller.kind != "professional" or row is None or not (action in READING or action == "refer"):
        return None
    if resource_type in _NEVER_READ:
        return None
    return _rule("professional", resource_type, row, build_or(_records(facts, emergency=False)))


def emergency(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """In a declared emergency, professionals who may do so read without permission; masks and oppositions hold.

    L1111-17, R1111-48: bris de glace and centre 15.
    """
    row = find_habilitation(facts.caller.profession)
    if facts.caller.kind != "professional" or row is None or not (action in READING or action == "refer"):
        return None
    if resource_type in _NEVER_READ:
        return None
    return _rule("emergency", resource_type, row, build_or(_records(facts, emergency=True)))


def deposit(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Professionals feed open records within their matrix, and correct what they put there themselves."""
    row = find_habilitation(facts.caller.profession)
    if facts.caller.kind != "professional" or row is None or resource_type in _DEPOSITED:
        return None
    fed = build_and([_open_records(facts), row.tree(resource_type)])
    if action == "create":
        return Rule("deposit", fed)
    if action in ("update", "patch", "delete"):
        return Rule("deposit", build_and([fed, _own(facts)]))
    return None


def conversation(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Professionals see the messages and appointments in open records that they take part in, and write such."""
    if facts.caller.kind != "professional" or resource_type not in CONVERSATIONS | APPOINTMENTS:
        return None
    of_type, own = TypeIs((resource_type,)), _own(facts)
    taking_part = naming(facts.caller, _PARTICIPANTS[resource_type])
    if action in READING or action == "refer":
        # Theirs are in more records than could be looked at for each search: what is in them tells of their state.
        seen = (build_and([of_type, one, InOpenRecord()]) for one in (taking_part, own))
        return Rule("conversation", build_or(seen))
    written = taking_part if action == "create" else own
    return Rule("conversation", build_and([of_type, written, _open_records(facts)]))


def own_consent(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Professionals see the consents that name them: whether they may consult."""
    if facts.caller.kind != "professional" or resource_type != "Consent" or action not in READING:
        return None
    return Rule(
        "own-consent", build_and([TypeIs(("Consent",)), naming(facts.caller, ("Consent.actor",)), _open_records(facts)])
    )


def _rule(name: str, resource_type: str, row: Habilitation, records: Node) -> Rule | None:
    if resource_type in CONVERSATIONS | APPOINTMENTS | (RIGHTS - _READ_OF_RIGHTS):
        return None
    tree = build_and([records, row.tree(resource_type)])
    return None if isinstance(tree, Nothing) else Rule(name, tree)


def _records(facts: Facts, *, emergency: bool) -> Iterator[Node]:
    """Yield the conditions of the records that may be consulted; those under one condition together."""
    groups: dict[Node, list[str]] = {}
    for record in facts.records:
        if record.open and (record.emergency or not emergency):
            tree = _in_emergency(facts, record) if emergency else _normally(facts, record)
            if not isinstance(tree, Nothing):
                groups.setdefault(tree, []).append(record.patient)
    for tree, patients in groups.items():
        yield build_and([PatientIs(tuple(patients)), tree])


def _normally(facts: Facts, record: RecordFacts) -> Node:
    """Return what may be consulted of a record; what the caller put there, unless the consents deny it to them."""
    own = build_and([_own(facts), prevail(Everything(), record.effects, _TREATMENT)])
    permitted = Everything() if record.care_team or record.general_practitioner else Nothing()
    tree = prevail(permitted, record.effects, _TREATMENT)
    if record.general_practitioner:
        return build_or([tree, own])
    return build_or([build_and([tree, UNMASKED]), own])


def _in_emergency(facts: Facts, record: RecordFacts) -> Node:
    tree = prevail(Everything(), record.effects, _PURPOSES[record.emergency])
    return build_and([tree, build_or([UNMASKED, _own(facts)])])


def _own(facts: Facts) -> Node:
    return OwnedBy(caller_keys(facts.caller))


def _open_records(facts: Facts) -> Node:
    return PatientIs(tuple(record.patient for record in facts.records if record.open))
