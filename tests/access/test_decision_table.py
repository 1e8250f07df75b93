"""Who may do what, as a table: caller × label × mode × state of the record, then caller × resource × action.

Read from the rows of the decision procedure and of the masking matrix (CSP R1111-46 to R1111-53); every cell is asked
through HTTP (read, search, vread, history, content) and of the policy itself, which names the rule that decides.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.access.caller import Caller
from fhir_server.access.decision import Decision, Delta
from fhir_server.access.labels import MASKED
from fhir_server.access.rule import Action
from fhir_server.access.scopes import parse_scopes
from fhir_server.repository.authorising import POLICY_INDEX, to_index_document
from fhir_server.repository.facts import EMERGENCIES
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document
from tests.access.callers import World, backend, operator, patient, professional, representative
from tests.access.records import circle, concept, consent, document, guardian, of, resource

AUTHOR, GP, NURSE, PERMITTED, BLOCKED, OTHER, DENTIST = (f"8997000001{number}2" for number in range(10, 17))
"""National identifiers; the tests' patient is ``lea``, a minor."""

READERS: Mapping[str, Caller] = {
    "holder": patient("lea"),
    "holder's app, reading": patient("lea", scopes=parse_scopes("patient/*.rs").scopes),
    "app without the type": patient("lea", scopes=parse_scopes("patient/Observation.cruds").scopes),
    "another patient": patient("marie"),
    "representative": representative("lea", "mother"),
    "representative no more": representative("lea", "father"),
    "no guardian": representative("lea", "neighbour"),
    "depositor": professional("author", AUTHOR),
    "attending doctor": professional("gp", GP),
    "nurse of the team": professional("nurse", NURSE, "60"),
    "dentist of the team": professional("dentist", DENTIST, "40"),
    "doctor permitted": professional("permitted", PERMITTED),
    "doctor permitted, for a time": professional("once", "899700000299"),
    "doctor permitted no more": professional("late", "899700000399"),
    "doctor blocked": professional("blocked", BLOCKED),
    "doctor": professional("other", OTHER),
    "doctor, bris de glace": professional("urgent", "899700000499"),
    "doctor, centre 15": professional("samu", "899700000599", regulation=True),
    "doctor, bris de glace opposed": professional("opposed", "899700000699"),
    "doctor, bris de glace run out": professional("slow", "899700000799"),
    "occupation without a matrix": professional("unlisted", NURSE, "00"),
    "structure": backend("hospital"),
    "trusted service": backend("insurer", trusted=True),
    "operator": operator(),
    "auditor": operator(roles=("auditor",)),
}
COLUMNS = ("plain", "masked", "not yet", "secret", "psychiatry")
LABELS = {"masked": ("MASQUE_PS",), "not yet": ("INVISIBLE_PATIENT",), "secret": ("INVISIBLE_REPRESENTANTS_LEGAUX",)}
OPEN = """
holder                        | yes  yes  no   yes  yes | own-record
holder's app, reading         | yes  yes  no   yes  yes | own-record
app without the type          | no   no   no   no   no  | -
another patient               | no   no   no   no   no  | -
representative                | yes  yes  no   no   yes | represented-record
representative no more        | no   no   no   no   no  | -
no guardian                   | no   no   no   no   no  | -
depositor                     | yes  yes  yes  yes  yes | professional
attending doctor              | yes  yes  yes  yes  yes | professional
nurse of the team             | yes  no   yes  yes  no  | professional
dentist of the team           | yes  no   yes  yes  no  | professional
doctor permitted              | yes  no   yes  yes  yes | professional
doctor permitted, for a time  | yes  no   yes  yes  yes | professional
doctor permitted no more      | no   no   no   no   no  | -
doctor blocked                | no   no   no   no   no  | -
doctor                        | no   no   no   no   no  | -
doctor, bris de glace         | yes  no   yes  yes  yes | emergency
doctor, centre 15             | yes  no   yes  yes  yes | emergency
doctor, bris de glace opposed | no   no   no   no   no  | -
doctor, bris de glace run out | no   no   no   no   no  | -
occupation without a matrix   | no   no   no   no   no  | -
structure                     | no   no   no   no   no  | -
trusted service               | yes  yes  yes  yes  yes | trusted-service
operator                      | no   no   no   no   no  | -
auditor                       | no   no   no   no   no  | -
"""
CLOSED = "trusted service | yes yes yes yes yes | trusted-service"
"""In a record that is closed only migration and the law's archive reads; every other row is all no."""


def rows(table: str) -> dict[str, tuple[tuple[bool, ...], str]]:
    parsed = {}
    for line in table.strip().splitlines():
        name, cells, rule = (part.strip() for part in line.split("|"))
        parsed[name] = (tuple(cell == "yes" for cell in cells.split()), rule)
    return parsed


@pytest.fixture
def country(world: World) -> World:
    """A minor with two parents, a care circle, consents and emergencies, and five documents of one author."""
    past, soon = {"end": "2020-01-01"}, {"end": "2999-01-01"}
    blocked_mode = {"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}]}
    practitioners = [one.user for one in READERS.values() if one.kind == "professional" and one.user]
    world.put(
        *(resource(name) for name in practitioners),
        resource("Organization/hospital", name="Hôpital"),
        resource("Organization/insurer", name="Assurance"),
        resource("Patient/lea", birthDate="2015-07-12"),
        resource("Patient/marie", birthDate="1979-03-28"),
        guardian("mother", "lea"),
        guardian("father", "lea", period=past),
        {**guardian("neighbour", "lea"), "relationship": [concept("ECON")]},
        circle("lea", (GP, "PCP"), (NURSE, "ATT"), (DENTIST, "ATT")),
        consent("permitted", "lea", "permit", PERMITTED),
        consent("once", "lea", "permit", "899700000299", period=soon),
        consent("late", "lea", "permit", "899700000399", period=past),
        consent("author", "lea", "permit", AUTHOR),
        consent("blocked", "lea", "deny", BLOCKED),
        consent("opposed", "lea", "deny", "899700000699", **blocked_mode),
    )  # fmt: skip
    records, now = world.composition.store().records, datetime.now(UTC)
    declared = (
        ("899700000499", "bris_de_glace", 1), ("899700000599", "centre_15", 1), ("899700000699", "bris_de_glace", 1),
        ("899700000799", "bris_de_glace", -1),
    )  # fmt: skip
    for number, mode, hours in declared:
        keys, until = [f"rpps|{number[1:]}"], now + timedelta(hours=hours)
        entry = {"_id": number, "keys": keys, "patient": "Patient/lea", "mode": mode, "until": until}
        assert records.insert(EMERGENCIES, entry)
    return world


def deposit(world: World) -> dict[str, str]:
    """Return the ids of one document for each column, put there by their author."""
    made = {}
    for column in COLUMNS:
        code = "68599-0" if column == "psychiatry" else "11502-2"
        one = document(column.replace(" ", "-"), "lea", *LABELS.get(column, ()), code=code)
        one["content"] = [{"attachment": {"title": column}}]
        del one["id"]
        made[column] = world.ask(READERS["depositor"]).create(one)["id"]
    return made


def decide(world: World, caller: Caller, id: str) -> Decision:
    """Return what the policy says of reading a document."""
    composition = world.composition
    repository = composition.open_context(caller, "x", "en", "http://localhost/fhir").repository
    found = repository.store.get_many([f"DocumentReference/{id}"], index_fields=POLICY_INDEX)
    return repository.authority.decide("read", found[f"DocumentReference/{id}"])


def sees(world: World, caller: Caller, id: str) -> set[bool]:
    """Return the answers of every way to read it: one, if they agree."""
    ask, reference = world.ask(caller), f"DocumentReference/{id}"
    answers = [ask.get(path) for path in (reference, f"{reference}/_history/1", f"{reference}/_history")]
    found = ask.get(f"DocumentReference?_id={id}")
    counted = ask.get(f"DocumentReference?_id={id}&_summary=count")
    histories = ask.get("DocumentReference/_history?_count=50")
    assert {one.status for one in answers} <= {200, 403, 404}
    return {
        *(one.status == 200 for one in answers),
        found.status == 200 and found.ids == [id],
        counted.status == 200 and counted.body["total"] == 1,
        histories.status == 200 and id in histories.ids,
    }


@pytest.mark.parametrize("state", ["open", "closed"])
def test_reading_is_as_the_masking_matrix_says(country: World, state: str) -> None:
    made = deposit(country)
    table = rows(OPEN)
    if state == "closed":
        country.put(resource("Patient/lea", birthDate="2015-07-12", active=False))
        table = {name: ((False,) * len(COLUMNS), "-") for name in table} | rows(CLOSED)
    assert set(table) == set(READERS)
    wrong = []
    for name, (expected, rule) in table.items():
        for column, allowed in zip(COLUMNS, expected, strict=True):
            decision = decide(country, READERS[name], made[column])
            told = sees(country, READERS[name], made[column])
            if told != {allowed} or decision.allowed != allowed or decision.rule != (rule if allowed else ""):
                wrong.append((name, column, allowed, told, decision))
    assert not wrong


WRITERS: Mapping[str, Caller] = {
    **READERS,
    "anonymous": Caller("anonymous", "anonymous", scopes=parse_scopes("user/*.cruds").scopes),
}
WRITES = """
caller             | resource              | action | rule
holder             | Observation of lea    | create | own-record
holder             | Observation of marie  | create | -
holder             | Condition of lea      | create | own-record
holder             | DiagnosticReport of lea | create | -
holder             | Consent of lea        | create | own-record
holder             | opening of lea        | create | -
holder             | CareTeam of lea       | create | own-record
holder             | CareTeam of lea       | delete | -
holder             | RelatedPerson of lea  | create | own-record
holder             | guardian of lea       | create | -
holder             | Provenance of lea     | create | -
holder             | AuditEvent of lea     | create | -
holder             | Patient of lea        | update | own-contact-details
holder             | Patient of lea        | delete | -
holder             | Observation of lea    | update | own-masking
holder             | Observation of lea    | delete | -
holder             | Binary                | create | content
holder             | Organization          | create | -
holder             | SearchParameter       | define | -
holder's app, reading | Observation of lea | create | -
app without the type | Condition of lea    | create | -
representative     | Observation of lea    | create | represented-record
representative     | Observation of lea    | update | represented-masking
representative     | Patient of lea        | update | represented-contact-details
representative     | Consent of lea        | create | represented-record
representative     | guardian of lea       | create | -
representative no more | Observation of lea | create | -
no guardian        | Patient of lea        | update | -
attending doctor   | Observation of lea    | create | deposit
attending doctor   | Observation of lea    | update | -
attending doctor   | Consent of lea        | create | -
attending doctor   | CareTeam of lea       | create | -
attending doctor   | Patient of lea        | update | -
attending doctor   | Provenance of lea     | create | -
attending doctor   | Organization          | create | -
doctor             | Observation of lea    | create | deposit
doctor blocked     | Observation of lea    | create | deposit
doctor             | Consent of lea        | create | -
doctor             | Binary                | create | content
doctor             | Patient of lea        | refer  | identity
doctor             | Observation of lea    | refer  | -
doctor, bris de glace | Observation of lea | refer  | emergency
dentist of the team | FamilyMemberHistory of lea | create | -
occupation without a matrix | Observation of lea | create | -
structure          | Observation of lea    | create | structure
structure          | Observation of lea    | update | -
structure          | Consent of lea        | create | -
structure          | Patient of lea        | refer  | identity
structure          | Provenance of lea     | create | structure
structure          | Provenance of lea     | update | -
structure          | AuditEvent of lea     | create | structure
structure          | AuditEvent of lea     | delete | -
structure          | Organization          | create | -
trusted service    | Observation of lea    | update | trusted-service
trusted service    | Consent of lea        | create | trusted-service
trusted service    | Patient of lea        | delete | trusted-service
trusted service    | Provenance of lea     | create | trusted-service
trusted service    | Provenance of lea     | update | -
trusted service    | AuditEvent of lea     | create | structure
trusted service    | AuditEvent of lea     | delete | -
operator           | Organization          | create | operator
operator           | Organization          | delete | operator
operator           | SearchParameter       | define | operator
operator           | Patient of lea        | create | -
operator           | Consent of lea        | create | -
operator           | AuditEvent of lea     | read   | -
auditor            | AuditEvent of lea     | read   | auditor
auditor            | AuditEvent of lea     | delete | -
auditor            | Observation of lea    | read   | -
anonymous          | Organization          | read   | -
anonymous          | Observation of lea    | create | -
another patient    | Organization          | read   | directory
another patient    | Observation of lea    | create | -
"""
CHANGED = {
    "Patient": Delta(frozenset({"telecom"})),
    "Observation": Delta(labels=frozenset(MASKED[:1])),
    "Provenance": Delta(frozenset({"recorded"})),
}
"""What an update in the table changes."""
RULED = [tuple(cell.strip() for cell in line.split("|")) for line in WRITES.strip().splitlines()[1:]]


def example(name: str) -> dict[str, Any]:
    kind, _, owner = name.partition(" of ")
    subject = of(f"Patient/{owner}")
    match kind:
        case "Consent":
            return consent("x", owner, "permit", OTHER)
        case "opening":
            return {**consent("x", owner, "permit"), "category": [concept("ouverture-ens", "x")]}
        case "guardian":
            return guardian("x", owner)
        case "RelatedPerson":
            return {**guardian("x", owner), "relationship": [concept("ECON")]}
        case "CareTeam":
            return circle(owner, (OTHER, "ATT"))
        case "Patient":
            return resource(f"Patient/{owner}")
        case "FamilyMemberHistory":
            return resource("FamilyMemberHistory/x", status="completed", patient=subject, relationship=concept("x"))
        case "Provenance":
            return resource("Provenance/x", target=[subject], recorded="2025-01-01T00:00:00Z", agent=[{"who": subject}])
        case "AuditEvent":
            return resource("AuditEvent/x", recorded="2025-01-01T00:00:00Z", agent=[{"who": subject}])
        case "Binary" | "Organization" | "SearchParameter":
            return resource(f"{kind}/x")
        case _:
            return resource(f"{kind}/x", status="final", subject=subject, code=concept("x"))


def test_every_action_is_decided_by_the_rule_that_the_table_names(country: World) -> None:
    wrong = []
    for who, what, action, rule in RULED:
        one = example(what)
        described = index_document(f"{one['resourceType']}/{one['id']}", datetime.now(UTC), to_index(one))
        context = country.composition.open_context(WRITERS[who], "x", "en", "http://localhost/fhir")
        policy = context.repository.authority.about([described]).policy
        decision = policy.permits(action, described, CHANGED[one["resourceType"]] if action == "update" else None)  # type: ignore[arg-type]
        if (decision.rule or "-") != rule or decision.allowed != (rule != "-"):
            wrong.append((who, what, action, rule, decision))
    assert not wrong


CHANGES = """
holder             | mask        | 200
holder             | describe    | 403
holder             | delete      | 403
representative     | mask        | 200
representative     | describe    | 403
depositor          | mask        | 200
depositor          | describe    | 200
depositor          | hide        | 200
depositor          | move        | 403
depositor          | delete      | 204
attending doctor   | mask        | 403
attending doctor   | describe    | 403
attending doctor   | delete      | 403
nurse of the team  | describe    | 403
doctor             | describe    | 404
doctor             | delete      | 204
doctor blocked     | describe    | 404
doctor, bris de glace | describe | 403
structure          | describe    | 404
trusted service    | describe    | 200
trusted service    | hide        | 200
trusted service    | move        | 200
operator           | describe    | 404
another patient    | mask        | 404
holder             | hide        | 403
holder             | move        | 403
"""


@pytest.mark.parametrize("line", CHANGES.strip().splitlines())
def test_changes_are_answered_as_the_table_says(country: World, line: str) -> None:
    who, change, status = (part.strip() for part in line.split("|"))
    id = deposit(country)["plain"]
    ask = country.ask(READERS[who])
    if change == "delete":
        assert ask.delete(f"DocumentReference/{id}").status == int(status)
        deleted = country.local.get(f"DocumentReference/{id}").status == 410
        assert deleted == (status == "204" and who == "depositor"), "what is hidden is left, and answered as if gone"
        return
    label = [concept("MASQUE_PS" if change == "mask" else "INVISIBLE_PATIENT", MASKED[0].rpartition("|")[0])]
    patches = {
        "mask": {"op": "add", "path": "/securityLabel", "value": label},
        "hide": {"op": "add", "path": "/securityLabel", "value": label},
        "describe": {"op": "add", "path": "/description", "value": "x"},
        "move": {"op": "replace", "path": "/subject/reference", "value": "Patient/marie"},
    }
    reply = ask.patch(f"DocumentReference/{id}", [patches[change]], Content_Type="application/json-patch+json")
    assert reply.status == int(status), reply.content


OWN = """
caller           | what        | open: seen, referred to, deleted | closed
structure        | measurement | structure structure structure    | - - -
structure        | provenance  | structure structure -            | - - -
structure        | event       | structure structure -            | structure structure -
trusted service  | measurement | all                              | all
trusted service  | message     | all                              | all
depositor        | message     | conversation conversation conversation | - - -
attending doctor | message     | conversation conversation -      | - - -
depositor        | appointment | conversation conversation deposit | - - -
attending doctor | appointment | conversation conversation -      | - - -
doctor           | message     | - - -                            | - - -
holder           | message     | own-record own-record -          | - - -
holder           | measurement | own-record own-record -          | - - -
representative   | appointment | represented-record represented-record - | - - -
doctor permitted | measurement | professional professional -      | - - -
doctor, bris de glace | measurement | emergency emergency -       | - - -
auditor          | event       | auditor - -                      | auditor - -
auditor          | message     | - - -                            | - - -
"""
"""What somebody has put into the record or takes part in: the rule that lets each see it (in all ways), and so on."""
ACTIONS: tuple[tuple[Action, ...], ...] = (("read", "vread", "search", "history"), ("refer",), ("delete",))


def put_into_record(world: World) -> dict[str, str]:
    """Return the references of what the structure and the author have put there, by the words of the table."""
    taking_part = [of("Practitioner/author"), of("Practitioner/gp")]
    lea = of("Patient/lea")
    by_author = {
        "message": {"resourceType": "Communication", "status": "completed", "subject": lea, "recipient": taking_part},
        "appointment": {
            "resourceType": "Appointment",
            "status": "booked",
            "participant": [{"actor": one, "status": "accepted"} for one in (lea, *taking_part)],
        },
    }
    made = {name: world.ask(READERS["depositor"]).create(one) for name, one in by_author.items()}
    structure = world.ask(READERS["structure"])
    measured = structure.create(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": lea}
    )
    told = {"resourceType": "Provenance", "target": [lea], "recorded": "2025-01-01T00:00:00Z", "agent": [{"who": lea}]}
    event = {
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2025-01-01T00:00:00Z",
        "agent": [{"requestor": True, "who": of("Organization/hospital")}],
        "source": {"observer": of("Organization/hospital")},
        "entity": [{"what": lea}],
    }
    made |= {"measurement": measured, "provenance": structure.create(told), "event": structure.create(event)}
    return {name: f"{one['resourceType']}/{one['id']}" for name, one in made.items()}


@pytest.mark.parametrize("state", ["open", "closed"])
def test_what_one_has_put_there_or_takes_part_in_is_closed_with_the_record(country: World, state: str) -> None:
    made = put_into_record(country)
    if state == "closed":
        country.put(resource("Patient/lea", birthDate="2015-07-12", active=False))
    wrong = []
    for line in OWN.strip().splitlines()[1:]:
        who, what, *cells = (part.strip() for part in line.split("|"))
        cell = cells[state == "closed"]
        expected = ["trusted-service"] * len(ACTIONS) if cell == "all" else cell.split()
        repository = country.composition.open_context(READERS[who], "x", "en", "http://localhost/fhir").repository
        found = repository.store.get_many([made[what]], index_fields=POLICY_INDEX)[made[what]]
        described = to_index_document(found)
        policy = repository.authority.about([described]).policy
        for rule, actions in zip(expected, ACTIONS, strict=True):
            rules = {action: policy.permits(action, described).rule or "-" for action in actions}
            if set(rules.values()) != {rule}:
                wrong.append((who, what, rule, rules))
    assert not wrong
