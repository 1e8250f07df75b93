"""Attacks 16 to 23: what a visible resource lists names nothing that its reader may not see, and nothing finds it so.

A mother reads her daughter's record: the daughter has hidden a document and a measurement from her representatives.
"""

from typing import Any

import pytest

from fhir_server.access.scopes import parse_scopes
from fhir_server.repository.sight import LEVELS
from fhir_server.worker import Worker
from tests.access.callers import World, backend, operator
from tests.access.records import TITLED, concept, document, labelled, of, resource
from tests.access.test_records import lea, mother, record
from tests.rest.fhir import entry

__all__ = ["record"]

JSON_PATCH = "application/json-patch+json"
HIDDEN = "INVISIBLE_REPRESENTANTS_LEGAUX"
DIV = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">confidence</div>'}
LEA = of("Patient/lea")
MEASURED = {"status": "final", "code": concept("x"), "subject": LEA}


def listing(id: str, *documents: str, **more: Any) -> dict[str, Any]:
    items = [{"item": of(f"DocumentReference/{one}")} for one in documents]
    return resource(f"List/{id}", status="current", mode="working", subject=LEA, entry=items, **more)


LISTED: dict[str, dict[str, Any]] = {
    "List/some": listing("some", "child", "secret", "other", text=DIV),
    "DocumentReference/after": document(
        "after",
        "lea",
        content=TITLED,
        relatesTo=[{"code": "appends", "target": of("DocumentReference/secret")}],
        context={"related": [of("DocumentReference/secret"), of("DocumentReference/child")]},
    ),
    "DocumentManifest/some": resource(
        "DocumentManifest/some",
        status="current",
        subject=LEA,
        content=[of("DocumentReference/child"), of("DocumentReference/secret")],
    ),
    "Provenance/some": resource(
        "Provenance/some",
        target=[LEA, of("DocumentReference/child"), of("DocumentReference/secret/_history/1")],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"who": LEA}],
        entity=[{"role": "source", "what": of("DocumentReference/secret")}],
    ),
    "DiagnosticReport/some": resource(
        "DiagnosticReport/some", status="final", code=concept("x"), subject=LEA,
        result=[of("Observation/secret"), of("Observation/child")],
    ),
    "Observation/panel": resource(
        "Observation/panel", **MEASURED, hasMember=[of("Observation/secret")], derivedFrom=[of("Observation/secret")],
        focus=[of("DocumentReference/secret")],
    ),
    "Condition/some": resource(
        "Condition/some", subject=LEA,
        evidence=[{"detail": [of("Observation/secret")]}, {"detail": [of("Observation/child")]}],
    ),
    "Communication/some": resource(
        "Communication/some", status="completed", subject=LEA, about=[of("Observation/secret")],
        payload=[{"contentString": "bonjour"}, {"contentReference": of("DocumentReference/secret")}],
    ),
    "Composition/some": resource(
        "Composition/some", status="final", type=concept("x"), subject=LEA, date="2026-01-01", title="x",
        author=[LEA], event=[{"detail": [of("Observation/secret")]}],
        section=[
            {"title": "confidence", "code": concept("secret"), "entry": [of("Observation/secret")]},
            {"title": "mesures", "entry": [of("Observation/child"), of("Observation/secret")], "text": DIV},
        ],
    ),
}  # fmt: skip
ELEMENTS = {name.partition("/")[0]: sorted(one.keys() - {"resourceType", "id", "meta"}) for name, one in LISTED.items()}
EMPTY = {
    "List/nothing": listing("nothing", "secret", title="confidence"),
    "List/of-lists": resource(
        "List/of-lists", status="current", mode="working", subject=LEA, entry=[{"item": of("List/nothing")}]
    ),
}
"""What is nothing but a list of what is hidden."""


@pytest.fixture
def lists(record: World) -> World:
    record.put(
        document("other", "lea", content=TITLED),
        resource("Observation/secret", **MEASURED, **labelled(HIDDEN)),
        resource("Observation/child", **MEASURED),
    )
    record.put(*LISTED.values(), *(one for name, one in EMPTY.items() if name != "List/of-lists"))
    record.put(EMPTY["List/of-lists"])
    return record


def total(world: World, query: str) -> int:
    reply = world.ask(mother).get(query)
    assert reply.status == 200, reply.content
    return int(reply.body["total"])


@pytest.mark.parametrize("name", LISTED)
def test_nothing_hidden_is_named_wherever_a_resource_is_shown(lists: World, name: str) -> None:
    kind, _, id = name.partition("/")
    paths = (
        name, f"{name}/_history/1", f"{name}/_history", f"{kind}?_id={id}", f"{kind}/_history", f"Patient/lea/{kind}",
        f"?_type={kind},Task", f"{name}?_summary=true", f"{kind}?_id={id}&_elements={','.join(ELEMENTS[kind])}",
        "_history?_count=100", f"{kind}?_count=50", f"{kind}?_include=*&_revinclude=*", f"{name}?_pretty=true",
        f"{kind}/_history?_at=2099",
    )  # fmt: skip
    for path in paths:
        for accept in ("application/fhir+json", "application/fhir+xml"):
            reply = lists.ask(mother).send("GET", path, None, Accept=accept)
            assert reply.status == 200, (path, reply.content)
            assert b"secret" not in reply.content, path
            assert b"confidence" not in reply.content, path
    inner = [entry("GET", name), entry("GET", f"{kind}?_id={id}")]
    for sort in ("batch", "transaction"):
        assert b"secret" not in lists.ask(mother).transact(*inner, kind=sort).content
    assert b"secret" in lists.ask(lea).get(name).content
    assert lists.ask(lea).get(name).body == lists.local.get(name).body


def test_what_is_shown_has_the_version_that_is_stored_and_no_sign_that_something_is_withheld(lists: World) -> None:
    shown, stored = lists.ask(mother).get("List/some"), lists.local.get("List/some")
    assert shown.body["entry"] == listing("x", "child", "other")["entry"]
    assert shown.body["meta"] == stored.body["meta"]
    assert shown.headers["ETag"] == stored.headers["ETag"]
    assert "text" not in shown.body


@pytest.mark.parametrize("name", EMPTY)
def test_a_list_of_nothing_but_hidden_things_is_not_there(lists: World, name: str) -> None:
    kind, _, id = name.partition("/")
    nowhere = lists.ask(mother).get(f"{kind}/nowhere")
    for path in (name, f"{name}/_history/1", f"{name}/_history"):
        reply = lists.ask(mother).get(path)
        assert (reply.status, reply.body["issue"]) == (404, nowhere.body["issue"]), path
    for query in (f"{kind}?_id={id}", f"{kind}?_id={id}&_count=1", f"?_type={kind},Task&_id={id}"):
        assert total(lists, query) == 0
        assert total(lists, f"{query}&_summary=count") == 0
        assert total(lists, f"{query}&_summary=count&_total=estimate") == 0
    for path in (f"{kind}/_history", "_history?_count=100", f"Patient/lea/{kind}", "Patient/lea/*?_count=100"):
        assert id not in lists.ask(mother).get(path).ids, path
    assert lists.ask(mother).delete(name).status == lists.ask(mother).delete(f"{kind}/nowhere").status
    assert lists.ask(lea).get(name).status == 200


def test_a_deleted_list_of_hidden_things_was_never_there(lists: World) -> None:
    assert lists.local.delete("List/of-lists").status == 204
    assert lists.local.delete("List/nothing").status == 204
    assert lists.local.delete("List/some").status == 204
    assert lists.ask(mother).get("List/nothing").status == 404
    assert lists.ask(mother).get("List/nothing/_history").status == 404
    assert lists.ask(mother).get("List/some").status == 410
    told = [one["fullUrl"].rpartition("/")[2] for one in lists.ask(mother).get("List/_history").body["entry"]]
    assert set(told) == {"some"}


def test_counts_and_pages_leave_out_what_is_not_there(lists: World) -> None:
    lists.put(*(listing(f"more{number}", "child" if number % 3 else "secret") for number in range(30)))
    visible = {"some", *(f"more{number}" for number in range(30) if number % 3)}
    assert total(lists, "List?_summary=count") == len(visible)
    assert total(lists, "List?_count=1&_total=accurate") == len(visible)
    for path in ("List?_count=7", "List?_count=7&_sort=_id", "List/_history?_count=7"):
        ids, sizes = [], []
        reply = lists.ask(mother).get(path)
        while True:
            ids += reply.ids
            sizes.append(len(reply.ids))
            following = [link["url"] for link in reply.body["link"] if link["relation"] == "next"]
            if not following:
                break
            reply = lists.ask(mother).get(following[0])
        assert sorted(ids) == sorted(visible), path
        assert sizes == [7, 7, 7], path
    assert total(lists, "List/_history?_count=0") == len(visible)
    everything = lists.ask(mother).get("_history?_count=200").body["total"]
    assert total(lists, "_history?_count=0") == everything


FOUND_BY = (
    "List?item=DocumentReference/{}", "List?item:DocumentReference={}", "List?_filter=item eq DocumentReference/{}",
    "Provenance?target=DocumentReference/{}", "Provenance?entity=DocumentReference/{}",
    "DocumentReference?relatesto=DocumentReference/{}", "DocumentReference?related=DocumentReference/{}",
    "DocumentReference?relationship=appends$DocumentReference/{}", "DiagnosticReport?result=Observation/{}",
    "Observation?has-member=Observation/{}", "Observation?derived-from=Observation/{}",
    "Condition?evidence-detail=Observation/{}", "Composition?entry=Observation/{}", "DocumentManifest?item={}",
    "Patient?_has:List:patient:item=DocumentReference/{}", "Patient?_has:List:subject:item={}",
    "Patient?_has:DiagnosticReport:patient:result=Observation/{}",
    "Patient?_has:DocumentReference:patient:relatesto=DocumentReference/{}",
)  # fmt: skip


@pytest.mark.parametrize("query", FOUND_BY)
def test_nothing_is_found_by_what_is_hidden_in_it(lists: World, query: str) -> None:
    hidden, nowhere = query.format("secret"), query.format("nowhere")
    for form in ("", "&_summary=count", "&_total=accurate&_count=1"):
        told = [lists.ask(mother).get(f"{one}{form}").body for one in (hidden, nowhere)]
        assert [one["total"] for one in told] == [0, 0]
        assert not any("entry" in one for one in told)
    assert lists.ask(lea).get(hidden).body["total"] >= 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("DocumentReference?relatesto:missing=true&_id=after", 1),
        ("DocumentReference?relatesto:missing=false&_id=after", 0),
        ("DocumentReference?relation=appends", 0),
        ("DocumentReference?related:missing=false", 1),
        ("DocumentReference?related:not-in=x&_id=after", None),
        ("Observation?has-member:missing=false", 0),
        ("Observation?has-member:missing=true&_id=panel", 1),
        ("Composition?section=secret", 0),
        ("List?_content=confidence", 0),
        ("List?_text=confidence", 0),
        ("Composition?_content=confidence", 0),
        ("List?item=DocumentReference/child", 1),
        ("List?item:DocumentReference.status=current", 1),
        ("DiagnosticReport?result=Observation/child", 1),
        ("DocumentReference?_list=some", 2),
        ("DocumentReference?_list=nothing", 0),
        ("DocumentReference?_has:List:item:status=current", 2),
        ("Patient?_has:List:patient:title=confidence", 0),
    ],
)
def test_conditions_are_about_what_is_shown(lists: World, query: str, expected: int | None) -> None:
    reply = lists.ask(mother).get(query)
    if expected is None:
        assert reply.status == 400
    else:
        assert reply.body.get("total") == expected, reply.content


def test_words_that_stand_together_are_sought_in_what_is_shown(lists: World) -> None:
    said = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">glucose de confidence</div>'}
    lists.put({**LISTED["List/some"], "text": said})
    for caller, found in ((lea, 1), (mother, 0)):
        for name in ("_text", "_content"):
            for query in (f'List?{name}="glucose de confidence"', f'?_type=List,Task&{name}="glucose de confidence"'):
                assert lists.ask(caller).get(query).body["total"] == found, (caller.key, query)


def test_nothing_is_left_out_for_words_that_are_not_shown(lists: World) -> None:
    said = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">glucose de confidence</div>'}
    lists.put({**LISTED["List/some"], "text": said}, listing("plain", "child"))
    for caller, found in ((lea, {"List/plain"}), (mother, {"List/plain", "List/some"})):
        for name in ("_text", "_content"):
            reply = lists.ask(caller).get(f'List?_id=plain,some&{name}=NOT "glucose de confidence"')
            assert {f"List/{id}" for id in reply.ids} == found, (caller.key, name)


def test_lists_within_lists_are_seen_by_what_lies_in_them(lists: World) -> None:
    lists.put(listing("deep0", "child"), listing("dark0", "secret"))
    for kind in ("deep", "dark"):
        for number in range(LEVELS):
            item = [{"item": of(f"List/{kind}{number}")}]
            lists.put(resource(f"List/{kind}{number + 1}", status="current", mode="working", subject=LEA, entry=item))
    for number in (0, 1, 5, LEVELS - 1):
        assert lists.ask(mother).get(f"List/deep{number}").status == 200, number
        assert lists.ask(mother).get(f"List/dark{number}").status == 404, number
    assert lists.ask(mother).get(f"List/deep{LEVELS}").status == 404, "so deep nobody looks"
    assert not any(id.startswith("dark") for id in lists.ask(mother).get("List?_count=100").ids)


@pytest.mark.parametrize(
    "elsewhere", ["https://other.example/fhir/DocumentReference/secret", "urn:uuid:x", "no reference"]
)
def test_what_lies_elsewhere_is_hidden_from_nobody(lists: World, elsewhere: str) -> None:
    entries = [{"item": of(one)} for one in (elsewhere, "#within", "DocumentReference/secret")]
    within = [{"resourceType": "Basic", "id": "within", "code": {"text": "x"}}]
    mixed = resource(
        "List/mixed", status="current", mode="working", subject=LEA, contained=within, entry=entries
    )  # fmt: skip
    lists.put(mixed)
    shown = lists.ask(mother).get("List/mixed")
    assert shown.status == 200
    assert shown.body["entry"] == entries[:2]
    own_base = resource(
        "List/mixed", status="current", mode="working", subject=LEA,
        entry=[{"item": of("http://localhost/fhir/DocumentReference/secret")}],
    )  # fmt: skip
    lists.put(own_base)
    assert lists.ask(mother).get("List/mixed").status == 404, "an address of this server is of this server"


def test_there_is_no_order_by_what_is_withheld(lists: World) -> None:
    assert lists.ask(mother).get("DocumentReference?_sort=relation").status == 400
    assert lists.ask(mother).get("DocumentReference?_sort=status").status == 200
    assert lists.local.get("DocumentReference?_sort=relation").status == 200


def test_a_stored_parameter_finds_nothing_by_what_is_hidden(lists: World) -> None:
    defined = {
        "resourceType": "SearchParameter", "url": "http://example.org/SearchParameter/listed", "name": "listed",
        "status": "active", "description": "x", "code": "listed", "base": ["List"], "type": "reference",
        "expression": "List.entry.item", "target": ["DocumentReference"],
    }  # fmt: skip
    assert lists.local.post("SearchParameter", defined).status == 201
    lists.put(listing("new", "child", "secret"))
    Worker(lists.composition).run_due()
    assert lists.ask(lea).get("List?listed=DocumentReference/secret").body["total"] >= 1
    assert total(lists, "List?listed=DocumentReference/secret") == 0
    assert total(lists, "List?listed=DocumentReference/child") == 2


def test_criteria_match_only_what_is_shown(lists: World) -> None:
    made = {name: value for name, value in listing("x", "child").items() if name != "id"}
    for query in ("item=DocumentReference/secret", "title=confidence"):
        reply = lists.ask(mother).post("List", made, If_None_Exist=query)
        assert reply.status == 201, query
        assert lists.ask(mother).delete(f"List?{query}").status == 204
        assert lists.local.get("List/nothing").status == 200
    assert lists.ask(mother).post("List", made, If_None_Exist="item=DocumentReference/child&_id=some").status == 200


def test_joins_through_many_lists_meet_only_those_that_are_there(lists: World) -> None:
    """So many that they are not looked up at once, but one candidate after the other."""
    documents = [document(f"d{number}", "lea", content=TITLED) for number in range(60)]
    lists.put(*documents)
    lists.put(*(listing(f"m{number}", f"d{number % 50}") for number in range(250)))
    lists.put(*(listing(f"s{number}", "secret", source=of("Practitioner/gp")) for number in range(250)))
    found = lists.ask(mother).get("DocumentReference?_has:List:item:status=current&_count=100")
    assert set(found.ids) == {*(f"d{number}" for number in range(50)), "child", "other"}
    assert lists.ask(mother).get("Practitioner?_has:List:source:status=current").ids == []
    assert lists.ask(lea).get("Practitioner?_has:List:source:status=current").ids == ["gp"]


def test_nothing_is_included_by_way_of_a_list_that_is_not_there(lists: World) -> None:
    query = "Patient?_id=lea&_revinclude=List:subject&_include:iterate=List:item&_revinclude=Provenance:patient"
    reply = lists.ask(mother).get(query)
    assert set(reply.ids) >= {"lea", "some", "child", "other"}
    assert not {"nothing", "of-lists", "secret"}.intersection(reply.ids)


def own(world: World, *documents: str) -> dict[str, Any]:
    """Store a list that the family may change: it is the record's own."""
    made = {name: value for name, value in listing("x", *documents).items() if name != "id"}
    reply = world.ask(lea).post("List", made)
    assert reply.status == 201, reply.content
    return dict(reply.body)


def items(world: World, made: dict[str, Any]) -> list[str]:
    found = world.local.get(f"List/{made['id']}").body
    return [one["item"]["reference"].partition("/")[2] for one in found.get("entry", ())]


def test_whoever_writes_back_what_they_were_shown_changes_nothing(lists: World) -> None:
    made = own(lists, "secret", "child", "other")
    shown = lists.ask(mother).get(f"List/{made['id']}")
    reply = lists.ask(mother).put(f"List/{made['id']}", shown.body, If_Match=shown.headers["ETag"])
    assert (reply.status, reply.headers["ETag"]) == (200, 'W/"1"')
    assert reply.body == shown.body
    assert items(lists, made) == ["secret", "child", "other"]


def test_an_update_keeps_what_its_author_could_not_see(lists: World) -> None:
    made = own(lists, "child", "secret", "other")
    path = f"List/{made['id']}"
    shown = lists.ask(mother).get(path).body
    changed = {**shown, "title": "à nous", "entry": [shown["entry"][1], {"item": of("DocumentReference/after")}]}
    reply = lists.ask(mother).put(path, changed)
    assert reply.status == 200, reply.content
    assert b"secret" not in reply.content
    assert items(lists, made) == ["secret", "other", "after"]
    assert lists.ask(mother).put(path, {**changed, "entry": []}).status == 400
    emptied = {name: value for name, value in changed.items() if name != "entry"}
    assert lists.ask(mother).put(path, emptied).status == 200
    assert items(lists, made) == ["secret"]
    assert lists.ask(lea).get(path).body["title"] == "à nous"


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ([{"op": "remove", "path": "/entry/0"}], ["secret", "other"]),
        ([{"op": "replace", "path": "/entry/1/item/reference", "value": "DocumentReference/after"}],
         ["child", "secret", "after"]),
        ([{"op": "remove", "path": "/entry"}], ["secret"]),
    ],
)  # fmt: skip
def test_a_patch_is_about_what_its_author_sees(lists: World, operations: list[dict[str, Any]], left: list[str]) -> None:
    made = own(lists, "child", "secret", "other")
    reply = lists.ask(mother).patch(f"List/{made['id']}", operations, Content_Type=JSON_PATCH)
    assert reply.status == 200, reply.content
    assert b"secret" not in reply.content
    assert items(lists, made) == left


def test_a_patch_cannot_be_used_to_ask_what_is_there(lists: World) -> None:
    made = own(lists, "child", "secret", "other")
    told = []
    for guess in ("DocumentReference/secret", "DocumentReference/nowhere"):
        operations = [{"op": "test", "path": "/entry/1/item/reference", "value": guess}]
        reply = lists.ask(mother).patch(f"List/{made['id']}", operations, Content_Type=JSON_PATCH)
        told.append((reply.status, reply.body))
    beyond = [{"op": "remove", "path": "/entry/2"}]
    assert told[0] == told[1]
    assert lists.ask(mother).patch(f"List/{made['id']}", beyond, Content_Type=JSON_PATCH).status == 422
    written = {**made, "entry": [{"item": of("DocumentReference/secret")}]}
    guessed = {**made, "entry": [{"item": of("DocumentReference/nowhere")}]}
    replies = [lists.ask(mother).put(f"List/{made['id']}", one) for one in (written, guessed)]
    assert (replies[0].status, replies[0].body) == (replies[1].status, replies[1].body)
    assert items(lists, made) == ["child", "secret", "other"]


def test_entries_of_a_transaction_are_treated_alike(lists: World) -> None:
    made = own(lists, "child", "secret")
    path = f"List/{made['id']}"
    shown = lists.ask(mother).get(path).body
    reply = lists.ask(mother).transact(
        entry("PUT", path, {**shown, "title": "x"}), entry("GET", path), Prefer="return=representation"
    )
    assert reply.status == 200, reply.content
    assert b"secret" not in reply.content
    assert items(lists, made) == ["child", "secret"]


def test_traces_name_nothing_that_was_hidden_since(lists: World) -> None:
    assert lists.ask(mother).get("DocumentReference/other").status == 200
    assert lists.ask(lea).get("DocumentReference/other").status == 200
    lists.put(document("other", "lea", HIDDEN, content=TITLED))
    for path in ("AuditEvent?_count=100", "AuditEvent/_history?_count=100", "AuditEvent/$tde?date=ge2020&_count=100"):
        reply = lists.ask(mother).get(path)
        assert reply.status == 200, path
        assert b"DocumentReference/other" not in reply.content, path
        assert b"DocumentReference/other" in lists.ask(lea).get(path).content, path
    assert total(lists, "AuditEvent?entity=DocumentReference/other") == 0
    assert total(lists, "AuditEvent?entity=DocumentReference/nowhere") == 0
    assert b"DocumentReference/other" in lists.ask(operator(roles=("auditor",))).get("AuditEvent?_count=100").content


def test_a_provenance_of_what_was_hidden_since_is_not_there(lists: World) -> None:
    made = lists.ask(mother).post("DocumentReference", document("x", "lea", content=TITLED))
    path = f"DocumentReference/{made.body['id']}"
    (told,) = lists.ask(mother).get(f"Provenance?target={path}").resources
    hidden = {**made.body, "securityLabel": document("x", "lea", HIDDEN)["securityLabel"]}
    assert lists.local.put(path, hidden).status == 200
    assert lists.ask(mother).get(f"Provenance/{told['id']}").status == 404
    assert total(lists, f"Provenance?target={path}") == 0
    assert lists.ask(lea).get(f"Provenance/{told['id']}").status == 200


def test_a_trusted_service_is_shown_what_is_stored(lists: World) -> None:
    narrow = backend("x", trusted=True, scopes=parse_scopes("system/List.rs").scopes)
    assert lists.ask(narrow).get("List/some").body == lists.local.get("List/some").body
    assert lists.ask(narrow).get("List?item=DocumentReference/secret").body["total"] == 2
