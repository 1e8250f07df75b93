"""Events made by joining pieces are what parsing and indexing them anew would make of them."""

import base64
import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import bson
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.audit import codes
from fhir_server.audit.events import EventBuilder, Moment
from fhir_server.audit.grouping import Asked, Group, Noted, build_groups
from fhir_server.audit.packs import unpack
from fhir_server.audit.templates import Occasion
from fhir_server.audit.touched import Touched
from fhir_server.audit.trail import Origin, Trail, new_event_id, new_event_ids
from fhir_server.fhir.json import parse_json
from fhir_server.search.indexer import to_index
from fhir_server.validation.structure import check_structure
from tests.trail import unpacked

BASE = "https://phr.example/fhir"
NOW = datetime(2026, 6, 14, 2, 11, 5, 120_000, tzinfo=UTC)
DOCTOR = Caller(
    "k",
    "professional",
    client_id="lps-1",
    client_name="LPS Exemple 4.2",
    user="Practitioner/p1",
    user_name="DR MEDIONI",
    identifiers=("urn:oid:1.2.250.1.71.4.2.1|899700218896",),
    profession="10",
    specialty="SM54",
)

_words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=30).map(
    lambda text: text.strip() or "x"
)
_ids = st.from_regex(r"[A-Za-z0-9.-]{1,20}", fullmatch=True)
_patients = _ids.map(lambda id: f"Patient/{id}")
_references = st.one_of(_patients, _ids.map(lambda id: f"Observation/{id}"), _ids.map(lambda id: f"Practitioner/{id}"))
_labels = st.sampled_from(
    [codes.HIDDEN_FROM_REPRESENTATIVES, "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R", "|local"]
)
_callers = st.builds(
    Caller,
    key=st.just("k"),
    kind=st.sampled_from(["patient", "representative", "professional", "system", "operator"]),
    client_id=st.one_of(st.just(""), _ids),
    client_name=st.one_of(st.just(""), _words),
    user=st.one_of(
        st.none(),
        _patients,
        _ids.map(lambda id: f"Practitioner/{id}"),
        _ids.map(lambda id: f"RelatedPerson/{id}"),
        _ids.map(lambda id: f"Person/{id}"),
    ),
    user_name=st.one_of(st.just(""), _words),
    identifiers=st.lists(st.sampled_from(["urn:oid:1.2.3|42", "|x", "http://a.example|B"]), max_size=1).map(tuple),
    profession=st.sampled_from(["", "10"]),
    specialty=st.sampled_from(["", "SM54"]),
    mode=st.sampled_from(["normal", "bris_de_glace", "centre_15"]),
    reason=st.one_of(st.just(""), _words),
    secret=st.booleans(),
)
_groups = st.builds(
    Group,
    action=st.sampled_from(sorted(codes.KINDS)),
    patient=st.one_of(st.none(), _patients),
    labels=st.lists(_labels, unique=True, max_size=2).map(tuple),
    rules=st.lists(st.sampled_from(["own-record", "care-team"]), unique=True, max_size=2).map(tuple),
    query=st.one_of(st.just(""), st.text(st.characters(codec="utf-8"), min_size=1, max_size=150)),
    resources=st.dictionaries(
        _references, st.lists(st.integers(0, 12), unique=True, min_size=1, max_size=3).map(tuple), max_size=5
    ),
)


def as_sets(index: dict[str, Any]) -> dict[str, Any]:
    lines = {line.strip() for entry in index["v"] for line in entry.removeprefix("_content:").split("|")}
    kept = {name: frozenset(value) if isinstance(value, list) else value for name, value in index.items()}
    return {**kept, "v": lines}


@given(
    caller=_callers,
    group=_groups,
    address=st.sampled_from(["", "192.0.2.10", "2001:db8::1"]),
    request_id=st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True),
    outcome=st.sampled_from([("0", ""), ("4", "forbidden"), ("8", "exception")]),
)
def test_events_of_a_request_are_valid_and_indexed_as_if_they_were_parsed(
    caller: Caller, group: Group, address: str, request_id: str, outcome: tuple[str, str]
) -> None:
    # Those of a kind share what they have in common: whichever comes first, the other is what it would be alone.
    for id, before in ((request_id, 3), ("1", 0)):
        moment = Moment(NOW - timedelta(milliseconds=before), NOW, id)
        builder = EventBuilder(Occasion(caller, BASE, address), moment, *outcome)
        for other in (group, *almost(group, caller)):
            event = builder.build(new_event_id(NOW), other)
            check_event(event, other)
            assert parse_json(event["body"])["entity"][-1]["what"] == {"identifier": {"value": id}}
        check_packs(builder, [group, *almost(group, caller)])


def check_packs(builder: EventBuilder, groups: list[Group]) -> None:
    """Hold the packed events of a request, taken apart, to the same events made whole."""
    packs = builder.pack(iter(f"{new_event_id(NOW)[:-3]}000" for _ in groups), groups)
    assert 1 <= len(packs) < len(groups), "some of them are of one kind"
    for pack in packs:
        events = unpacked([pack])
        assert [event["_id"] for event in events] == sorted({event["_id"] for event in events})
        assert len(events) == pack.document["count"]
        for event in events:
            told = next(one for one in groups if is_told(event, one, builder))
            groups = [one for one in groups if one is not told]
            whole = builder.build(event["_id"].removeprefix("AuditEvent/"), told)
            assert event == {name: whole[name] for name in event}
            assert event.keys() == whole.keys()
    assert groups == []
    for pack in packs:
        assert all(targets(event) <= {*pack.document["x"]} for event in unpacked([pack])), "by this a pack is found"


def targets(event: dict[str, Any]) -> set[str]:
    """Return what an event is found by that it refers to."""
    pointed = {key.partition(">")[2] for key in event.get("r", ())}
    return {*pointed, *event.get("c", ()), *event.get("x", ()), *([event["pt"]] if "pt" in event else ())}


def is_told(event: Mapping[str, Any], group: Group, builder: EventBuilder) -> bool:
    """Say whether this is the event of a group."""
    return bool(event["body"] == builder.build(event["_id"].removeprefix("AuditEvent/"), group)["body"])


def almost(group: Group, caller: Caller) -> list[Group]:
    """Return groups that differ little from it and from one another."""
    own = caller.user or "Patient/p"
    later = {reference: tuple(one + 1 for one in versions) for reference, versions in group.resources.items()}
    changes: list[dict[str, Any]] = [
        {"patient": "Patient/other"}, {"patient": own}, {"patient": None},
        *({"patient": own, "resources": {named: (1,)}} for named in (own, "Patient/other", "Observation/o")),
        {"resources": later}, {"resources": {}}, {"query": f"{group.query}&more"},
        {"labels": ("|other",)}, {"rules": ("other",)},
    ]  # fmt: skip
    return [replace(group, **change) for change in changes]


def check_event(event: Mapping[str, Any], group: Group) -> None:
    body = parse_json(event["body"])
    assert check_structure(body, expected_type="AuditEvent") == []
    known = {reference: tuple(filter(None, versions)) for reference, versions in group.resources.items()}
    assert named_in(body) == ({group.patient: ()} if group.patient else {}) | known
    assert query_of(body) == (group.query or None)
    own = {"type": "AuditEvent", "version": 1, "updated": NOW, "deleted": False, "method": "POST"}
    assert {name: event[name] for name in own} == own
    assert event["_id"] == f"AuditEvent/{body['id']}"
    index = {name: value for name, value in event.items() if name not in {*own, "_id", "body"}}
    assert as_sets(index) == as_sets(to_index(body, BASE))
    assert all(len(set(value)) == len(value) for value in index.values() if isinstance(value, list))


def named_in(body: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the references of the entities with the versions told of them; a patient may be there twice."""
    told: dict[str, tuple[int, ...]] = {}
    for entity in body["entity"]:
        reference = entity.get("what", {}).get("reference")
        if reference is not None:
            versions = tuple(int(one["valueString"]) for one in entity.get("detail", ()))
            told[reference] = told.get(reference, ()) + versions
    return told


def trail_of(caller: Caller) -> Trail:
    return Trail(Origin(Occasion(caller, BASE), "req-1", NOW, lambda: NOW))


def bodies(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [parse_json(event["body"]) for event in events]


def query_of(body: dict[str, Any]) -> str | None:
    found = [entity["query"] for entity in body["entity"] if "query" in entity]
    return base64.b64decode(found[0]).decode() if found else None


def test_a_read_is_told_as_balp_tells_it() -> None:
    trail = trail_of(DOCTOR)
    trail.begin("read", ("Observation", "o1"), ())
    trail.disclose([Touched("read", "Observation/o1", 3, ("Patient/p",), (), "care-team")])
    (body,) = bodies(unpacked(trail.events()))
    assert body["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"
    ]
    assert [agent["requestor"] for agent in body["agent"]] == [False, False, True]
    assert body["agent"][2]["policy"] == ["https://espace-sante.example/fhir/access-rule/care-team"]
    assert body["agent"][2]["purposeOfUse"][0]["coding"][0]["code"] == "TREAT"
    assert [entity.get("what") for entity in body["entity"]] == [
        {"reference": "Observation/o1"},
        {"reference": "Patient/p"},
        {"identifier": {"value": "req-1"}},
    ]
    assert body["entity"][0]["detail"] == [{"type": "version", "valueString": "3"}]


def test_each_patient_found_gets_an_event_and_none_gets_the_question_about_all() -> None:
    trail = trail_of(DOCTOR)
    trail.begin("search-type", ("Patient",), (("name", "dupont"),))
    trail.disclose(Touched("search", f"Patient/{id}", 1, (f"Patient/{id}",)) for id in ("a", "b"))
    told = bodies(unpacked(trail.events()))
    asked = {to_index(body).get("pt"): query_of(body) for body in told}
    assert len(told) == 3
    assert asked == {"Patient/a": None, "Patient/b": None, None: "Patient?name=dupont"}


def test_the_question_about_one_patient_is_in_that_patients_event() -> None:
    trail = trail_of(DOCTOR)
    trail.begin("search-type", ("Observation",), (("patient", "p"), ("code", "1234")))
    trail.disclose([Touched("search", "Observation/o", 1, ("Patient/p",))])
    (body,) = bodies(unpacked(trail.events()))
    assert query_of(body) == "Observation?patient=p&code=1234"


def test_a_search_that_finds_nothing_is_told_to_the_patient_it_names() -> None:
    trail = trail_of(DOCTOR)
    trail.begin("search-compartment", ("Patient", "p", "Observation"), ())
    (body,) = bodies(unpacked(trail.events()))
    assert to_index(body)["pt"] == "Patient/p"
    assert query_of(body) == "Patient/p/Observation"


@given(st.lists(st.tuples(_words, st.text(st.characters(codec="utf-8"), max_size=150)), min_size=1, max_size=3))
def test_a_question_is_told_as_a_url(parameters: list[tuple[str, str]]) -> None:
    assert Asked("search", ("Observation",), tuple(parameters)).text == f"Observation?{urlencode(parameters)}"


def test_what_bears_a_label_is_told_apart() -> None:
    hidden = codes.HIDDEN_FROM_REPRESENTATIVES
    asked = Asked("search", ("Observation",), (("patient", "p"),))
    noted = [
        Touched("search", "Observation/open", 1, ("Patient/p",)),
        Touched("search", "Observation/hidden", 1, ("Patient/p",), (hidden,)),
    ]
    groups = build_groups([Noted(noted, 0)], [asked])
    assert [(group.labels, list(group.resources), group.query) for group in groups] == [
        ((), ["Observation/open"], "Observation?patient=p"),
        ((hidden,), ["Observation/hidden"], ""),
    ]


def test_traces_of_a_secret_connection_bear_the_label() -> None:
    secret = Caller("k", "professional", user="Practitioner/p1", secret=True)
    trail = trail_of(secret)
    trail.disclose([Touched("read", "Observation/o", 1, ("Patient/p",))])
    (event,) = unpacked(trail.events())
    assert event["l"] == [codes.HIDDEN_FROM_REPRESENTATIVES]


def test_many_resources_make_several_events_and_none_is_left_out() -> None:
    trail = trail_of(DOCTOR)
    trail.disclose(Touched("search", f"Observation/{n}", 1, ("Patient/p",)) for n in range(250))
    told = bodies(unpacked(trail.events()))
    named = [
        entity["what"]["reference"]
        for body in told
        for entity in body["entity"]
        if "reference" in entity.get("what", {})
    ]
    assert len(told) == 3
    assert set(named) == {*(f"Observation/{n}" for n in range(250)), "Patient/p"}


def test_a_parent_is_named_without_taking_the_event_into_the_parents_record() -> None:
    parent = Caller("k", "representative", user="Patient/parent", user_name="Camille", patient="child")
    trail = trail_of(parent)
    trail.disclose([Touched("read", "Observation/o", 1, ("Patient/child",))])
    (event,) = unpacked(trail.events())
    assert event["pt"] == "Patient/child"
    assert event["c"] == ["Patient/child"]


def test_an_emergency_is_told_with_its_reason() -> None:
    trail = trail_of(Caller("k", "professional", user="Practitioner/p", mode="bris_de_glace", reason="AVC suspecté"))
    trail.disclose([Touched("read", "Observation/o", 1, ("Patient/p",))])
    (body,) = bodies(unpacked(trail.events()))
    assert [coding["code"] for coding in body["purposeOfEvent"][0]["coding"]] == ["BTG", "bris_de_glace"]
    assert body["entity"][-1]["detail"] == [{"type": "motif", "valueString": "AVC suspecté"}]


def test_a_trail_without_origin_notes_nothing() -> None:
    trail = Trail()
    trail.begin("read", ("Observation", "o"), ())
    trail.disclose([Touched("read", "Observation/o", 1)])
    assert trail.events() == []
    assert trail.records([Touched("create", "Observation/o", 1)]) == ()
    assert trail.refusal("read", 404, "not-found") == []


def test_the_command_line_has_a_name_too() -> None:
    trail = trail_of(LOCAL_CALLER)
    ((collection, event),) = trail.records([Touched("update", "Patient/p", 2, ("Patient/p",))])
    assert collection == "audit"
    assert parse_json(event["body"])["agent"][0]["who"] == {"display": "command line"}


def test_the_id_of_an_event_does_not_tell_how_many_others_there_are() -> None:
    places: dict[str, list[int]] = {"Patient/0": [], "Patient/49": []}
    for _ in range(400):
        trail = trail_of(DOCTOR)
        trail.disclose(Touched("read", f"Observation/{n}", 1, (f"Patient/{n}",)) for n in range(50))
        for event in unpacked(trail.events()):
            if event["pt"] in places:
                places[event["pt"]].append(int(event["_id"][-3:], 16))
    for found in places.values():
        assert min(found) < 0x200, "the first may be anywhere"
        assert max(found) > 0xE00
        assert 0x600 < sum(found) / len(found) < 0xA00


def test_more_events_than_a_pack_takes_make_several() -> None:
    trail = trail_of(DOCTOR)
    trail.disclose(Touched("read", f"Observation/{n}", 1, (f"Patient/{n}",)) for n in range(5_000))
    packs = trail.events()
    assert len(packs) == 2
    assert len({event["_id"] for event in unpacked(packs)}) == 5_000


def test_of_a_pack_those_events_alone_are_taken_out_that_refer_to_somebody() -> None:
    trail = trail_of(DOCTOR)
    trail.disclose(Touched("read", f"Observation/{n}", 1, (f"Patient/{n % 3}",)) for n in range(6))
    (pack,) = trail.events()
    for naming, found in (("Patient/1", 1), ("Observation/2", 1), ("Practitioner/p1", 3), ("Patient/9", 0)):
        assert len(list(unpack(bson.decode(pack.document.raw), pack.frame, frozenset({naming})))) == found


def test_ids_keep_their_order_however_many_a_request_has() -> None:
    ids = list(itertools.islice(new_event_ids(NOW), 10_000))
    assert ids == sorted(ids)
    assert len({one[:18] for one in ids}) == 10_000, "without a look at what is drawn"
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)


def test_the_events_of_one_patient_keep_their_order() -> None:
    for _ in range(20):
        trail = trail_of(DOCTOR)
        trail.disclose(Touched("read", f"Observation/{n}", 1, (f"Patient/{n % 3}",)) for n in range(1_200))
        (pack,) = trail.events()
        for patient in range(3):
            named = [
                int(entity["what"]["reference"].partition("/")[2])
                for event in unpacked([pack])
                if event["pt"] == f"Patient/{patient}"
                for entity in parse_json(event["body"])["entity"]
                if entity.get("what", {}).get("reference", "").startswith("Observation/")
            ]
            assert named == sorted(named)
            assert len(named) == 400


def test_ids_are_in_the_order_of_time() -> None:
    ids = [new_event_id(NOW + timedelta(milliseconds=n)) for n in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
