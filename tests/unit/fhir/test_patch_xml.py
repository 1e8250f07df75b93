"""XML Patch: RFC 5261's operations on FHIR XML, and what is refused."""

from copy import deepcopy
from typing import Any

import pytest

from fhir_server.errors import FhirError, Invalid, NotSupported, Processing, Structure, TooCostly
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.fhir.patch.xml_patch import apply_xml_patch

Resource = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">one <b>two</b> three</div>'


def patch(resource: Resource, operations: str, declarations: str = 'xmlns:f="http://hl7.org/fhir"') -> Resource:
    before = deepcopy(resource)
    outcome = apply_xml_patch(resource, f"<diff {declarations}>{operations}</diff>".encode())
    assert resource == before
    return outcome


def patient(**members: Any) -> Resource:
    return {"resourceType": "Patient", **members}


NAMED = patient(
    id="p",
    active=True,
    name=[{"use": "official", "family": "Dupont", "given": ["Anne", "Marie"]}, {"use": "nickname", "given": ["Nan"]}],
    birthDate="1920-01-01",
)


def test_an_attribute_is_replaced() -> None:
    outcome = patch(NAMED, '<replace sel="f:Patient/f:birthDate/@value">1930-01-01</replace>')
    assert outcome == {**NAMED, "birthDate": "1930-01-01"}


def test_an_element_is_replaced_by_another() -> None:
    outcome = patch(NAMED, '<replace sel="f:Patient/f:name[2]"><f:name><f:text value="N"/></f:name></replace>')
    assert outcome["name"] == [NAMED["name"][0], {"text": "N"}]


def test_an_element_or_an_attribute_is_removed() -> None:
    without = {name: value for name, value in NAMED.items() if name != "birthDate"}
    assert patch(NAMED, '<remove sel="f:Patient/f:birthDate"/>') == without
    extended = patient(birthDate="1920", _birthDate={"id": "b"})
    assert patch(extended, '<remove sel="f:Patient/f:birthDate/@id"/>') == patient(birthDate="1920")


def test_what_is_added_comes_last_or_where_pos_says() -> None:
    def given(*names: str) -> Resource:
        return patient(name=[{"given": list(names)}])

    one = '<f:given value="x"/>'
    assert patch(given("a"), f'<add sel="f:Patient/f:name">{one}</add>') == given("a", "x")
    assert patch(given("a"), f'<add sel="*/f:name" pos="prepend">{one}</add>') == given("x", "a")
    assert patch(given("a", "b"), f'<add sel="*/*/f:given[2]" pos="before">{one}</add>') == given("a", "x", "b")
    assert patch(given("a", "b"), f'<add sel="*/*/f:given[1]" pos="after">{one}</add>') == given("a", "x", "b")
    two = '\n  <f:given value="x"/>\n  <f:given value="y"/>\n'
    assert patch(given("a", "b"), f'<add sel="*/*/*[1]" pos="after">{two}</add>') == given("a", "x", "y", "b")


def test_an_attribute_is_added() -> None:
    outcome = patch(NAMED, '<add sel="f:Patient/f:birthDate" type="@id">b</add>')
    assert outcome["_birthDate"] == {"id": "b"}


@pytest.mark.parametrize(
    "selector",
    [
        "f:Patient/f:name[2]/f:given/@value",
        "/f:Patient/f:name[last()]/f:given/@value",
        "f:Patient/f:name[position()=2]/f:given[1]/@value",
        "f:Patient/f:name[f:use/@value='nickname']/f:given/@value",
        'f:Patient/f:name[f:use/@value="nickname"][1]/f:given[@value = "Nan"]/@value',
        "*/f:name[2]/*[2]/@value",
    ],
)
def test_one_place_can_be_selected_in_many_ways(selector: str) -> None:
    quoted = selector.replace('"', "&quot;")
    outcome = patch(NAMED, f'<replace sel="{quoted}">Nana</replace>')
    assert outcome["name"][1]["given"] == ["Nana"]


@pytest.mark.parametrize(
    "declarations",
    ["", 'xmlns="http://hl7.org/fhir"', 'xmlns:f="http://hl7.org/fhir" xmlns:p="urn:ietf:params:xml:ns:patch-ops"'],
)
def test_names_without_prefix_are_fhirs(declarations: str) -> None:
    operations = '<replace sel="Patient/active"><active value="false"/></replace>'
    assert patch(NAMED, operations, declarations)["active"] is False


def test_prefixes_are_the_documents_own() -> None:
    operations = '<x:remove sel="y:Patient/y:active"/>'
    assert "active" not in patch(NAMED, operations, 'xmlns:x="urn:patch" xmlns:y="http://hl7.org/fhir"')


def test_narratives_are_patched_to_the_letter() -> None:
    resource = patient(text={"status": "generated", "div": DIV})

    def div(operations: str) -> str:
        return str(patch(resource, operations)["text"]["div"])

    body = "f:Patient/f:text/h:div"
    assert div(f'<replace sel="{body}/h:b/text()">2</replace>') == DIV.replace("two", "2")
    assert div(f'<replace sel="{body}/text()[1]">1 </replace>') == DIV.replace("one", "1")
    assert div(f'<replace sel="{body}/text()[2]"> 3</replace>') == DIV.replace("three", "3")
    assert div(f'<remove sel="{body}/h:b"/>') == DIV.replace("<b>two</b>", "")
    new = '<i xmlns="http://www.w3.org/1999/xhtml">x</i>y'
    assert div(f'<add sel="{body}" pos="prepend">0{new}</add>') == DIV.replace("one", "0<i>x</i>yone")
    assert div(f'<add sel="{body}/h:b" pos="after">0{new}</add>') == DIV.replace("</b>", "</b>0<i>x</i>y")
    assert div(f'<add sel="{body}/h:b" pos="before">{new}</add>') == DIV.replace("<b>", "<i>x</i>y<b>")
    assert div(f'<replace sel="{body}/h:b">{new[:-1]}</replace>') == DIV.replace("<b>two</b>", "<i>x</i>")


def test_decimals_that_nobody_touches_keep_their_digits() -> None:
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":6.30}}'
    outcome = patch(parse_json(body), '<replace sel="f:Observation/f:code/f:text/@value">y</replace>')
    assert to_json(outcome) == body.replace(b'"x"', b'"y"')


def test_operations_see_what_the_ones_before_them_did() -> None:
    operations = (
        '<!-- first --><remove sel="f:Patient/f:name[1]"/>'
        '<replace sel="f:Patient/f:name/f:given/@value">Nana</replace><remove sel="f:Patient/f:active"/>'
    )
    outcome = patch(NAMED, operations)
    assert outcome == patient(id="p", name=[{"use": "nickname", "given": ["Nana"]}], birthDate="1920-01-01")


@pytest.mark.parametrize(
    "operation",
    [
        '<remove sel="f:Patient/f:photo"/>',
        '<remove sel="f:Patient/f:name"/>',
        '<remove sel="f:Patient"/>',
        '<replace sel="f:Patient"><f:Patient/></replace>',
        '<replace sel="f:Patient/f:active"/>',
        '<replace sel="f:Patient/f:active">x<f:active value="true"/></replace>',
        '<replace sel="f:Patient/f:active"><f:active value="true"/><f:active value="true"/></replace>',
        '<replace sel="f:Patient/f:active/@value"><f:active/></replace>',
        '<add sel="f:Patient/f:active/@value">x</add>',
        '<add sel="f:Patient" pos="before"><f:Patient/></add>',
        '<add sel="f:Patient/f:active" type="@value">false</add>',
        '<add sel="f:Patient/f:active" type="value">false</add>',
        '<add sel="f:Patient/f:active" type="@a:b">false</add>',
        '<add sel="f:Patient"><f:unknown value="x"/></add>',
        '<add sel="f:Patient">text</add>',
        '<replace sel="f:Patient/f:id/@value">q</replace>',
        '<remove sel="f:Patient/f:id"/>',
    ],
)
def test_what_cannot_be_carried_out_is_refused(operation: str) -> None:
    with pytest.raises(Processing) as caught:
        patch(NAMED, operation)
    assert caught.value.status == 422
    assert all(issue.diagnostics is None for issue in caught.value.issues)


def test_a_failing_operation_is_named() -> None:
    with pytest.raises(Processing) as caught:
        patch(NAMED, '<remove sel="f:Patient/f:active"/><remove sel="f:Patient/f:active"/>')
    assert caught.value.issues[0].expression == ("operation[1]",)


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "//f:name",
        "f:Patient//f:given",
        "f:Patient/descendant::f:given",
        "f:Patient/..",
        "id('x')",
        "f:Patient[count(f:name)=2]",
        "f:Patient/f:name[contains(., 'x')]",
        "f:Patient/f:name[1 or 1]",
        "f:Patient | f:Patient",
        "f:Patient/f:name[0]",
        "f:Patient/f:name[f:use[1]='x']",
        "x:Patient",
        "f:Patient/@x:a",
        "f:Patient/" * 300 + "f:name",
    ],
)
def test_a_selector_outside_of_the_subset_is_refused(selector: str) -> None:
    with pytest.raises(Invalid) as caught:
        patch(NAMED, f'<remove sel="{selector}"/>')
    assert caught.value.status == 400


def test_every_fault_of_the_document_is_named_at_once() -> None:
    operations = '<change sel="f:a"/><add sel="f:a" pos="middle"/><remove/><remove sel="f:a"/><remove sel="//a"/>'
    with pytest.raises(Invalid) as caught:
        patch(NAMED, operations)
    assert [issue.expression for issue in caught.value.issues] == [(f"operation[{each}]",) for each in (0, 1, 2, 4)]


def test_namespaces_are_not_patched() -> None:
    with pytest.raises(Invalid) as caught:
        patch(NAMED, '<add sel="f:Patient" type="namespace::x">urn:x</add>')
    assert caught.value.issues[0].code == NotSupported.code


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<diff",
        b"\xff\xfe<diff/>",
        b'<!DOCTYPE diff [<!ENTITY a "b">]><diff>&a;</diff>',
        b'<!DOCTYPE diff SYSTEM "file:///etc/passwd"><diff/>',
        b"<diff>&a;</diff>",
        b"<diff>" + b"<a>" * 300 + b"</a>" * 300 + b"</diff>",
    ],
)
def test_a_document_that_is_not_plain_xml_is_refused(document: bytes) -> None:
    with pytest.raises(Structure):
        apply_xml_patch(NAMED, document)


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(Invalid):
        apply_xml_patch(NAMED, b"<patch/>")


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(TooCostly):
        patch(NAMED, '<remove sel="f:Patient/f:active"/>' * 1_001)


def test_selectors_that_would_compare_without_end_are_refused() -> None:
    """Each of them is short and leads to one place; on a large resource, all together, they would take hours."""
    large = patient(name=[{"text": "x"}] * 20_000)
    costly = "f:Patient/f:name" + "[f:*/@value='x']" * 100 + "[1]/f:text/@value"
    with pytest.raises(TooCostly):
        patch(large, f'<replace sel="{costly}">x</replace>' * 1_000)
    assert patch(large, f'<replace sel="{costly}">y</replace>')["name"][0] == {"text": "y"}


def test_many_places_of_a_large_resource_are_patched() -> None:
    large = patient(name=[{"text": "x"}] * 20_000)
    outcome = patch(large, '<replace sel="f:Patient/f:name[20000]/f:text/@value">y</replace>' * 1_000)
    assert outcome["name"][-1] == {"text": "y"}


def test_an_empty_patch_changes_nothing() -> None:
    assert patch(NAMED, "") == NAMED


def test_the_result_must_not_nest_without_end() -> None:
    deep = '<f:extension url="urn:x">' * 200 + "</f:extension>" * 200
    with pytest.raises(FhirError) as caught:
        patch(NAMED, f'<add sel="f:Patient">{deep}</add>')
    assert caught.value.status in (400, 422)
