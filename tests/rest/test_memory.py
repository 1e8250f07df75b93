"""A worker gives back what a large request took."""

import gc
import json
import os
from pathlib import Path

from fhir_server.rest.memory import give_back, settle
from tests.rest.fhir import Fhir, entry


def resident() -> int:
    """Return this process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_large_transactions_do_not_pile_up(fhir: Fhir) -> None:
    text = "x" * 2_000
    basics = [{"resourceType": "Basic", "id": f"b{n}", "code": {"text": text}} for n in range(1_500)]
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("PUT", f"Basic/{one['id']}", one) for one in basics],
    }
    content = json.dumps(body).encode()
    assert fhir.post("", content, Content_Type="application/fhir+json").status == 200
    first = resident()
    for _ in range(4):
        assert fhir.post("", content, Content_Type="application/fhir+json").status == 200
    assert resident() < first + 40_000_000


def test_settling_leaves_the_collector_at_work() -> None:
    before = gc.get_threshold()
    try:
        settle()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > before[0]
        give_back()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
