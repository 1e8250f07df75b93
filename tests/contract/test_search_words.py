"""Texts are found by their indexes: of thousands, MongoDB looks at a dozen more than what it returns at most."""

from typing import Any

import pytest

from fhir_server.search.compiler import to_query
from fhir_server.search.indexer import to_index
from fhir_server.search.parser import parse_search
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, Plan
from tests.contract.conftest import NOW

SYLLABLES = ("ba", "cro", "du", "fe", "gli", "ha", "jo", "kru", "le", "mi", "no", "pra", "qui", "ro", "sta", "tu")


def word(number: int) -> str:
    """Return the number as three syllables, so that it is a word."""
    return "".join(SYLLABLES[number // divisor % 16] for divisor in (1, 16, 256))


@pytest.fixture
def filled(store: MongoStore) -> MongoStore:
    """A store with 2,000 patients and as many conditions."""
    changes = []
    for number in range(2_000):
        patient: dict[str, Any] = {
            "resourceType": "Patient",
            "id": str(number),
            "name": [{"family": f"{word(number)}{word(number * 7)}", "given": ["Ada"]}],
        }
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">Nothing but {word(number)}</div>'
        condition: dict[str, Any] = {
            "resourceType": "Condition",
            "id": str(number),
            "text": {"status": "generated", "div": div},
            "code": {"text": f"Chronic {word(number * 3)} disease"},
        }
        for one in (patient, condition):
            reference = f"{one['resourceType']}/{one['id']}"
            changes.append(Change(reference, 0, 1, "PUT", NOW, b"{}", to_index(one)))
    store.commit(Plan(tuple(changes)))
    return store


@pytest.mark.parametrize(
    ("kind", "name", "value", "index"),
    [
        ("Patient", "family:contains", f"{word(1234)}{word(1234 * 7)}"[1:], "fragment"),
        ("Patient", "name:contains", word(77)[2:] + word(77 * 7), "fragment"),
        ("Patient", "family:contains", "zzz", "fragment"),
        ("Condition", "_text", word(500), "word"),
        ("Condition", "_text", f"{word(501)[:6]}*", "word"),
        ("Condition", "_text", f'"nothing but {word(502)}"', "word"),
        ("Condition", "_content", f"disease {word(503 * 3)}", "word"),
        ("Condition", "code:text", f"chronic {word(504 * 3)}", "word"),
        ("Condition", "code:text", f"{word(505 * 3)} disease", "word"),
    ],
)
def test_a_text_leads_to_few_documents(filled: MongoStore, kind: str, name: str, value: str, index: str) -> None:
    search = parse_search(kind, [(name, value)], strict=True, base_url="http://here.example")
    query = to_query(search, None, 50)
    resources = filled.connection.database["resources"]
    found = resources.find(dict(query.filter), sort=list(query.sort), limit=query.limit).explain()
    statistics = found["executionStats"]
    assert index in str(found["queryPlanner"]["winningPlan"])
    assert (statistics["nReturned"] == 0) == (value == "zzz")
    assert statistics["totalDocsExamined"] <= 2 * statistics["nReturned"] + 12
