"""Every official example goes in and comes out unchanged, but for the meta that the server sets."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fhir_server.app import Composition, build_app
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from tests.conformance.examples import examples
from tests.rest.fhir import Fhir

# Defects of the published files, one by one: see test_structure_examples.py.
DEFECTIVE = {
    "DeviceMetric-example.json",
    "DeviceUseStatement-example.json",
    "ImplementationGuide-fhir.json",
    "MedicationRequest-medrx0301.json",
    "Observation-clinical-gender.json",
    "Questionnaire-qs1.json",
}


def without_server_meta(resource: dict[str, Any]) -> bytes:
    """Return the resource's JSON, root members in order of their names, without what the server sets."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return to_json(dict(sorted({**resource, "meta": meta}.items())))


@pytest.fixture
def lenient(tmp_path: Path) -> object:
    """A server that does not ask whether the examples' references lead anywhere: they do not."""
    with EmbeddedMongod(tmp_path / "mongod", cache_size=2**28) as mongod:
        composition = Composition(
            Settings.from_environment(
                {},
                auth="open",
                mongodb_uri=mongod.uri,
                data_directory=tmp_path,
                referential_integrity_write=False,
                log_level="error",
            )
        )
        yield Fhir(build_app(composition))
        composition.close()


def test_every_example_comes_back_as_it_went_in(lenient: Fhir) -> None:
    def put_and_get(example: tuple[str, bytes]) -> str | None:
        name, content = example
        resource = parse_json(content)
        address = f"{resource['resourceType']}/{resource['id']}"
        if resource["resourceType"] == "AuditEvent":  # the trail is added to, under ids of the server's
            reply = lenient.post("AuditEvent", content, Content_Type="application/fhir+json")
            address = f"AuditEvent/{reply.body.get('id')}"
            mark = {"extension": reply.body.get("extension", [])[:1] + resource.get("extension", [])}  # who sent it
            resource = {**resource, "id": reply.body.get("id"), **mark}
        else:
            reply = lenient.put(address, content, Content_Type="application/fhir+json")
        if reply.status != 201:
            return name
        stored = parse_json(lenient.get(address).content)
        return None if without_server_meta(stored) == without_server_meta(resource) else f"{name} differs"

    with ThreadPoolExecutor(4) as pool:
        failed = {name for name in pool.map(put_and_get, examples()) if name is not None}
    assert failed == DEFECTIVE
