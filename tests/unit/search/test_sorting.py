"""The keys of _sort and what the database is asked to compute for them."""

from typing import Any

import pytest

from fhir_server.errors import Invalid
from fhir_server.fhir.definitions import resource_types
from fhir_server.search.parameters import supported_parameters
from fhir_server.search.sorting import SortKey, beyond, computed_fields, has_index, order, parse_sort

PATIENT = ("Patient",)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("family", ["s", "_id"]),
        ("-family,birthdate", ["s", "ds", "_id"]),
        ("gender,-_lastUpdated", ["t", "updated", "_id"]),
        ("birthdate", ["ds", "_id"]),
        ("_id,family", ["_id"]),
        ("organization,-_id", ["r", "_id"]),
        ("death-date", ["d", "_id"]),
    ],
)
def test_keys_say_where_their_values_are(value: str, fields: list[str]) -> None:
    assert [key.field for key in parse_sort(value, PATIENT)] == fields


def test_the_tie_follows_the_first_key_unless_it_is_said() -> None:
    assert parse_sort("-family,gender", PATIENT)[-1] == SortKey("_id", -1)
    assert parse_sort("-family,_id", PATIENT)[-1] == SortKey("_id", 1)


@pytest.mark.parametrize(
    ("value", "indexed"), [("birthdate", True), ("-_lastUpdated,_id", True), ("_id", True), ("family", False),
                           ("birthdate,family", False), ("_lastUpdated,birthdate", False)],
)  # fmt: skip
def test_orders_with_an_index_are_known(value: str, indexed: bool) -> None:
    assert has_index(parse_sort(value, PATIENT)) is indexed


@pytest.mark.parametrize("value", ["", "-", "x", "name,", "name,-name", "name:exact", "_text", "--name", "a" * 3000])
def test_other_keys_are_refused(value: str) -> None:
    with pytest.raises(Invalid):
        parse_sort(value, PATIENT)


def test_every_parameter_with_an_order_can_be_sorted_by() -> None:
    for kind in resource_types():
        for parameter in supported_parameters(kind):
            if parameter.type not in ("composite", "special") and parameter.code not in ("_text", "_content"):
                assert parse_sort(f"-{parameter.code}", (kind,))[0].direction == -1


def test_what_follows_is_compared_key_by_key() -> None:
    keys = parse_sort("family,-gender", PATIENT)
    assert order(keys) == (("k0", 1), ("k1", -1), ("_id", 1))
    assert order(keys, backward=True) == (("k0", -1), ("k1", 1), ("_id", -1))
    assert computed_fields(keys).keys() == {"k0", "k1"}

    def holds(expression: dict[str, Any], document: dict[str, Any]) -> bool:
        ((operator, operands),) = expression.items()
        if operator in ("$or", "$and"):
            joined = any if operator == "$or" else all
            return joined(holds(one, document) for one in operands)
        left, right = document[operands[0][1:]], operands[1]["$literal"]
        return {"$gt": left > right, "$lt": left < right, "$eq": left == right,
                "$gte": left >= right, "$lte": left <= right}[operator]  # fmt: skip

    values = ("b", "f", "Patient/5")
    for family, gender, id, expected in [
        ("c", "a", "Patient/1", True), ("a", "a", "Patient/9", False), ("b", "e", "Patient/1", True),
        ("b", "g", "Patient/9", False), ("b", "f", "Patient/6", True), ("b", "f", "Patient/4", False),
    ]:  # fmt: skip
        document = {"k0": family, "k1": gender, "_id": id}
        assert holds(beyond(keys, values, backward=False, inclusive=False), document) is expected
        assert holds(beyond(keys, values, backward=True, inclusive=False), document) is not expected
    same = dict(zip(("k0", "k1", "_id"), values, strict=True))
    for backward in (False, True):
        assert not holds(beyond(keys, values, backward=backward, inclusive=False), same)
        assert holds(beyond(keys, values, backward=backward, inclusive=True), same)
