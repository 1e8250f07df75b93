"""Attack 17: an estimated total depends on nothing that its reader may not see."""

from fhir_server.access.caller import Caller
from fhir_server.context import current_time
from fhir_server.fhir.json import to_json
from fhir_server.search.indexer import to_index
from fhir_server.storage.store import Change, Plan
from tests.access.callers import World, backend, patient, professional
from tests.access.records import GP, circle, concept, labelled, of, resource

MANY = 10_050
"""More than are counted exactly for whom a sample may be drawn."""


def fill(world: World, name: str, count: int, *labels: str) -> None:
    """Store observations of one patient, all alike."""
    observed = {"status": "final", "code": concept("x"), "subject": of("Patient/marie"), **labelled(*labels)}
    index = to_index(resource("Observation/x", **observed))
    body = to_json(resource("Observation/x", **observed))
    now = current_time()
    changes = [Change(f"Observation/{name}{number}", 0, 1, "PUT", now, body, index) for number in range(count)]
    world.composition.store().commit(Plan(tuple(changes)))


def test_an_estimate_tells_no_more_than_a_count(world: World) -> None:
    world.put(resource("Patient/marie", birthDate="1979-03-28"), circle("marie", (GP, "PCP")))
    fill(world, "seen", MANY)
    callers = (patient("marie"), professional("gp", GP), backend("insurer", trusted=True))
    told = [estimates(world, caller) for caller in callers]
    assert told == [{MANY}] * 3
    fill(world, "hidden", MANY // 2, "INVISIBLE_PATIENT")
    assert estimates(world, callers[0]) == {MANY}
    assert estimates(world, callers[2]) == {MANY + MANY // 2}


def estimates(world: World, caller: Caller) -> set[int]:
    """Return what a caller is told who asks repeatedly, alone, with a page and through a join."""
    queries = ("Observation?_summary=count&_total=estimate", "Observation?_count=1&_total=estimate&status=final") * 2
    replies = [world.ask(caller).get(query) for query in queries]
    assert {reply.status for reply in replies} == {200}
    return {reply.body["total"] for reply in replies}
