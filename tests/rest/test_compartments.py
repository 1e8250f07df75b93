"""Compartment searches over HTTP (http://hl7.org/fhir/R4/compartmentdefinition.html)."""

from typing import Any

import pytest

from fhir_server.fhir.definitions import compartment_definitions
from fhir_server.search.parameters import search_parameter
from tests.rest.fhir import Fhir
from tests.rest.test_chains import put

OF = {
    "Patient": {"subject": {"reference": "Patient/f"}},
    "Encounter": {"encounter": {"reference": "Encounter/f"}},
    "Practitioner": {"performer": [{"reference": "Practitioner/f"}]},
    "RelatedPerson": {"performer": [{"reference": "RelatedPerson/f"}]},
    "Device": {"device": {"reference": "Device/f"}},
}


@pytest.fixture
def five(fhir: Fhir) -> Fhir:
    """The focus of each of R4's five compartments, and an Observation in it."""
    put(fhir, "Patient/f")
    put(fhir, "Practitioner/f")
    put(fhir, "RelatedPerson/f", patient={"reference": "Patient/f"})
    put(fhir, "Device/f")
    put(fhir, "Encounter/f", status="finished", **{"class": {"code": "AMB"}})
    for kind, more in OF.items():
        put(fhir, f"Observation/{kind}", status="final", code={"text": kind}, **more)
    return fhir


@pytest.mark.parametrize("kind", sorted(OF))
def test_a_compartment_holds_its_own_and_itself(five: Fhir, kind: str) -> None:
    also = {"Patient": {"RelatedPerson"}}.get(kind, set())
    everything = five.get(f"{kind}/f/*")
    assert everything.status == 200
    assert {(one["resourceType"], one["id"]) for one in everything.resources} == {
        ("Observation", kind),
        *((name, "f") for name in {kind, *also}),
    }
    assert five.get(f"{kind}/f/Observation").ids == [kind]
    assert five.get(f"{kind}/f/Observation?status=final").ids == [kind]
    assert five.get(f"{kind}/f/Observation?status=amended").ids == []
    assert five.get(f"{kind}/f/*?_type=Observation").ids == [kind]
    assert five.get(f"{kind}/f/{kind}").ids == ["f"]
    assert five.get(f"{kind}/nothing/*").ids == []
    assert five.get(f"{kind}/f/CodeSystem").status == 404


def test_every_link_of_every_compartment_is_a_reference_that_is_indexed() -> None:
    wanting = []
    for compartment, members in compartment_definitions().items():
        for kind, codes in members.items():
            for code in codes:
                if code == "{def}":
                    assert kind == compartment
                    continue
                parameter = search_parameter(kind, code)
                usable = parameter is not None and parameter.type == "reference" and parameter.refusal is None
                if parameter is None or not usable or compartment not in parameter.targets:
                    wanting.append((compartment, kind, code))
    assert wanting == []


def test_an_entry_of_a_batch_searches_a_compartment(five: Fhir) -> None:
    entry: dict[str, Any] = {"request": {"method": "GET", "url": "Encounter/f/Observation?encounter.class=AMB"}}
    reply = five.transact(entry, kind="batch")
    assert [one["resource"]["id"] for one in reply.body["entry"][0]["resource"]["entry"]] == ["Encounter"]
