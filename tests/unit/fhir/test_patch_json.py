"""JSON Patch: RFC 6902's own examples, and what FHIR adds."""

import json
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Invalid, Processing, Structure, TooCostly
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.fhir.patch.json_patch import apply_json_patch, equal

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"versionId": "3", "lastUpdated": "2024-01-01T00:00:00Z", "tag": [{"code": "a"}]},
    "name": [{"family": "Dupont", "given": ["Anne", "Marie"]}],
}

# Document, operations, outcome: RFC 6902, appendix A.
EXAMPLES: dict[str, tuple[Any, Any, Any]] = {
    "A.1 adding a member": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux"}],
        {"baz": "qux", "foo": "bar"},
    ),
    "A.2 adding an element": (
        {"foo": ["bar", "baz"]},
        [{"op": "add", "path": "/foo/1", "value": "qux"}],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3 removing a member": ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    "A.4 removing an element": (
        {"foo": ["bar", "qux", "baz"]},
        [{"op": "remove", "path": "/foo/1"}],
        {"foo": ["bar", "baz"]},
    ),
    "A.5 replacing a value": (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6 moving a value": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7 moving an element": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8 testing a value, success": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.10 adding a nested member": (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {"a": 1}}}],
        {"foo": "bar", "child": {"grandchild": {"a": 1}}},
    ),
    "A.11 ignoring unrecognized members": (
        {"foo": "bar"},
        [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.14 escape ordering": (
        {"/": 9, "~1": 10},
        [{"op": "test", "path": "/~01", "value": 10}],
        {"/": 9, "~1": 10},
    ),
    "A.16 adding an array value": (
        {"foo": ["bar"]},
        [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    "replacing everything": ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    "adding over everything": ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    "copying": ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    "moving onto itself": ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    "a copy is no alias": (
        {"a": {"x": 1}},
        [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "replace", "path": "/b/x", "value": 2}],
        {"a": {"x": 1}, "b": {"x": 2}},
    ),
}

REFUSED: dict[str, tuple[Any, Any]] = {
    "A.9 a test that fails": ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}]),
    "A.12 adding to what does not exist": ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}]),
    "A.15 comparing strings and numbers": ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}]),
    "an index past the end": ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 0}]),
    "an index with a leading zero": ({"a": [1, 2]}, [{"op": "remove", "path": "/a/01"}]),
    "a negative index": ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}]),
    "the end of an array is not there to remove": ({"a": [1]}, [{"op": "remove", "path": "/a/-"}]),
    "a name on an array": ({"a": [1]}, [{"op": "replace", "path": "/a/b", "value": 0}]),
    "removing what is not there": ({"a": 1}, [{"op": "remove", "path": "/b"}]),
    "replacing what is not there": ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}]),
    "adding below a string": ({"a": "x"}, [{"op": "add", "path": "/a/b", "value": 1}]),
    "moving into itself": ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/c"}]),
    "copying from nowhere": ({"a": 1}, [{"op": "copy", "from": "/b", "path": "/c"}]),
    "removing everything": ({"a": 1}, [{"op": "remove", "path": ""}]),
    "a resource that becomes an array": ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}]),
    "true is not 1": ({"a": True}, [{"op": "test", "path": "/a", "value": 1}]),
}


@pytest.mark.parametrize(("document", "operations", "outcome"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_an_example_of_the_rfc_comes_out_as_it_says(document: Any, operations: Any, outcome: Any) -> None:
    before = deepcopy(document)
    assert apply_json_patch(document, operations) == outcome
    assert apply_json_patch(document, json.dumps(operations).encode()) == outcome
    assert document == before


@pytest.mark.parametrize(("document", "operations"), REFUSED.values(), ids=REFUSED.keys())
def test_an_operation_that_cannot_be_carried_out_leaves_the_resource_alone(document: Any, operations: Any) -> None:
    before = deepcopy(document)
    with pytest.raises(Processing) as caught:
        apply_json_patch(document, operations)
    assert caught.value.status == 422
    assert document == before


def test_an_error_names_the_operation_in_both_languages_and_no_value() -> None:
    operations = [
        {"op": "test", "path": "/name/0/family", "value": "Dupont"},
        {"op": "test", "path": "/name/0/family", "value": "Durand"},
    ]
    with pytest.raises(Processing) as caught:
        apply_json_patch(PATIENT, operations)
    (issue,) = caught.value.issues
    assert issue.expression == ("operation[1]",)
    assert "Du" not in issue.text.en + issue.text.fr


def test_every_fault_of_the_document_is_named_at_once() -> None:
    operations = [
        {"op": "add", "path": "/a"},
        {"op": "test", "path": "a", "value": 1},
        {"op": "remove", "path": "/a~2"},
        {"op": "launch", "path": "/a"},
        {"op": "move", "path": "/a"},
        {"op": "remove", "path": 7},
        "remove",
        {"op": "remove", "path": "/fine"},
    ]
    with pytest.raises(Invalid) as caught:
        apply_json_patch({"fine": 1}, operations)
    assert [issue.expression[0] for issue in caught.value.issues] == [f"operation[{index}]" for index in range(7)]
    assert caught.value.status == 400


@pytest.mark.parametrize("content", [b"{}", b'"x"', b"3"])
def test_a_document_that_is_no_array_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        apply_json_patch(PATIENT, content)


def test_a_document_that_is_no_json_is_refused() -> None:
    with pytest.raises(Structure):
        apply_json_patch(PATIENT, b"[{]")


def test_decimals_keep_their_digits_and_are_compared_by_value() -> None:
    resource = parse_json(b'{"resourceType":"Observation","valueQuantity":{"value":6.30}}')
    operations = (
        b'[{"op":"test","path":"/valueQuantity/value","value":6.3},'
        b'{"op":"copy","from":"/valueQuantity/value","path":"/a"},{"op":"add","path":"/b","value":1.0e2},'
        b'{"op":"test","path":"/b","value":100}]'
    )
    outcome = to_json(apply_json_patch(resource, operations))
    assert outcome == b'{"resourceType":"Observation","valueQuantity":{"value":6.30},"a":6.30,"b":1.0e2}'


def test_removing_the_last_element_removes_its_list() -> None:
    operations = [{"op": "remove", "path": "/name/0/given/1"}, {"op": "remove", "path": "/name/0/given/0"}]
    assert apply_json_patch(PATIENT, operations)["name"] == [{"family": "Dupont"}]
    everything = [*operations, {"op": "remove", "path": "/name/0/family"}]
    assert "name" not in apply_json_patch(PATIENT, everything)


def test_siblings_of_primitives_keep_their_places() -> None:
    resource = {"resourceType": "Patient", "_given": [{"id": "a"}, {"id": "b"}], "_birthDate": {"id": "c"}}
    operations = [{"op": "remove", "path": "/_given/0/id"}, {"op": "remove", "path": "/_birthDate/id"}]
    outcome = apply_json_patch(resource, operations)
    assert outcome == {"resourceType": "Patient", "_given": [None, {"id": "b"}]}
    assert "_given" not in apply_json_patch(outcome, [{"op": "remove", "path": "/_given/1/id"}])


@pytest.mark.parametrize("name", ["id", "resourceType"])
def test_identity_cannot_be_patched(name: str) -> None:
    for operation in ({"op": "replace", "value": "Other"}, {"op": "remove"}):
        with pytest.raises(Processing) as caught:
            apply_json_patch(PATIENT, [operation | {"path": f"/{name}"}])
        assert caught.value.issues[0].expression == (name,)


def test_version_and_time_stay_the_servers() -> None:
    operations = [{"op": "replace", "path": "/meta", "value": {"versionId": "9", "tag": [{"code": "b"}]}}]
    meta = apply_json_patch(PATIENT, operations)["meta"]
    assert meta == {"versionId": "3", "lastUpdated": "2024-01-01T00:00:00Z", "tag": [{"code": "b"}]}
    assert apply_json_patch(PATIENT, [{"op": "remove", "path": "/meta"}])["meta"].keys() == {"versionId", "lastUpdated"}
    new = {"resourceType": "Patient"}
    added = [{"op": "add", "path": "/meta", "value": {"versionId": "9"}}]
    assert apply_json_patch(new, added) == new


def test_a_meta_that_is_none_is_left_to_the_validation() -> None:
    assert apply_json_patch(PATIENT, [{"op": "replace", "path": "/meta", "value": 1}])["meta"] == 1


def test_copies_of_copies_do_not_fill_the_memory() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(TooCostly):
        apply_json_patch({"a": [[1] * 50]}, doubling)


def test_many_copies_of_something_large_are_refused() -> None:
    with pytest.raises(TooCostly):
        apply_json_patch({"a": [1] * 2_000}, [{"op": "copy", "from": "/a", "path": f"/b{i}"} for i in range(600)])


def test_nesting_step_by_step_is_refused() -> None:
    steps = [{"op": "add", "path": "/a" * depth, "value": {"x": 1}} for depth in range(1, 80)]
    with pytest.raises(TooCostly):
        apply_json_patch({"a": {}}, steps)


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(TooCostly):
        apply_json_patch(PATIENT, [{"op": "test", "path": "/id", "value": "p"}] * 1_001)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~", "/"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~0", "~1"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
_OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
            "path": _POINTERS,
            "from": _POINTERS,
            "value": _VALUES,
        }
    ),
    max_size=4,
)


@given(document=st.dictionaries(st.sampled_from(["a", "b"]), _VALUES), operations=_OPERATIONS)
def test_whatever_is_asked_either_works_or_is_refused_and_nothing_else_changes(
    document: dict[str, Any], operations: list[Any]
) -> None:
    before, asked = deepcopy(document), deepcopy(operations)
    with suppress(Invalid, Processing):
        assert isinstance(apply_json_patch(document, operations), dict)
    assert (document, operations) == (before, asked)


@given(value=_VALUES)
def test_every_value_equals_itself_and_passes_its_own_test(value: Any) -> None:
    assert equal(value, deepcopy(value))
    apply_json_patch({"x": value, "y": 1}, [{"op": "test", "path": "/x", "value": value}])
