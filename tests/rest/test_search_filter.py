"""_filter, near and _query: http://hl7.org/fhir/R4/search_filter.html with its examples, positions, named queries."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.rest.fhir import Fhir, observation, patient
from tests.rest.stored import found, put_all, refused

LOINC = "http://loinc.org"


@pytest.fixture
def people(fhir: Fhir) -> Fhir:
    put_all(
        fhir,
        patient(id="peter", name=[{"given": ["Peter"], "family": "Carpetier"}], birthDate="2014-11-01", gender="male"),
        patient(id="petra", name=[{"given": ["Petra", "Ann"], "family": "Smith"}], birthDate="2014-10-10", active=True),
        patient(id="old", name=[{"given": ["Peter", "Paul"], "family": "O(x"}], birthDate="1950-01-01"),
        {
            **observation("Patient/peter", id="one", effectivePeriod={"start": "2020-01-01", "end": "2020-06-30"}),
            "code": {"coding": [{"system": LOINC, "code": "1234-5"}]},
            "valueQuantity": {"value": 5.4, "system": "http://unitsofmeasure.org", "code": "mg"},
        },
        {
            **observation("Patient/petra", id="two", effectiveDateTime="2021-05-01"),
            "code": {"coding": [{"system": LOINC, "code": "1234-5"}, {"system": "http://x.example", "code": "y"}]},
            "hasMember": [{"reference": "Observation/one"}],
        },
    )
    return fhir


def filtered(fhir: Fhir, resource_type: str, text: str) -> str:
    return found(fhir, f"{resource_type}?_filter={quote(text)}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name co "pet"', "old peter petra"),  # "in a given or family name"
        ('given eq "peter" and birthdate ge 2014-10-10', "peter"),
        ("given eq pete", ""),
        ("given eq PETER", "old peter"),
        ("given ne peter", "old petra"),  # "an item in the set has an unequal value"
        ("given sw pet", "old peter petra"),
        ("family co pet", "peter"),
        ("family ew tier", "peter"),
        ("family ew carpetier", "peter"),
        ("family ew xcarpetier", ""),
        ('family eq "O(x"', "old"),
        ("gender eq male", "peter"),
        ("gender ne male", ""),
        ("gender pr true", "peter"),
        ("gender pr false", "old petra"),
        ("not (gender eq male)", "old petra"),
        ("active eq true or gender eq male", "peter petra"),
        ("gender eq male or active eq true and birthdate lt 2014-10-15", "petra"),  # from the left to the right
        ("gender eq male or (active eq true and birthdate lt 2014-10-15)", "peter petra"),
        ("(((gender eq male)))", "peter"),
        ("birthdate po 2014", "peter petra"),
        ("birthdate ap 1950-01-01", "old"),
        ("_id eq peter", "peter"),
        ("_has:Observation:patient:code eq 1234-5", "peter petra"),
        ("_lastUpdated gt 2020-01-01", "old peter petra"),
    ],
)
def test_a_filter_of_patients(people: Fhir, text: str, expected: str) -> None:
    assert filtered(people, "Patient", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code eq http://loinc.org|1234-5", "one two"),
        ("code ne http://loinc.org|1234-5", "two"),
        ("code ne y", "one two"),
        ('subject.name co "pet"', "one two"),
        ("subject.name co carp", "one"),
        ("subject[gender eq male].name co pet", "one"),
        ("subject[gender eq male].name co smith", ""),
        ("has-member[code eq 1234-5].date po 2020-02", "two"),
        ("has-member re Observation/one", "two"),
        ("has-member pr true", "two"),
        ("subject re Patient/peter", "one"),
        ("date po 2020-06-15", "one"),
        ("date eq 2020", "one"),
        ("date sa 2020-12", "two"),
        ("value-quantity eq 0.0054|http://unitsofmeasure.org|g", "one"),
        ("code-value-quantity eq 1234-5$gt5", "one"),
        ("status eq final and not (value-quantity gt 5)", "two"),
    ],
)
def test_a_filter_of_observations(people: Fhir, text: str, expected: str) -> None:
    assert filtered(people, "Observation", text) == expected


def test_a_filter_narrows_what_other_parameters_find(people: Fhir) -> None:
    assert found(people, "Patient?given=peter&_filter=gender%20eq%20male") == "peter"
    assert found(people, "Patient?_filter=gender%20eq%20male&_filter=active%20eq%20true") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gender",
        "gender eq",
        "gender is male",
        "gender eq male and",
        "(gender eq male",
        "gender eq male)",
        "gender eq male gender eq female",
        'name eq "open',
        r'name eq "\x"',
        "not gender eq male",
        "organization[name eq x] pr true",
        "nothing eq 1",
        "gender gt male",
        "name gt a",
        "birthdate co 2014",
        "organization ne Organization/1",
        "gender pr maybe",
        "birthdate eq tomorrow",
        "name.given eq x",
        "_text eq x",
        "(" * 17 + "gender eq male" + ")" * 17,
        " or ".join(["gender eq male"] * 101),
        "gender eq " + "x" * 9_000,
    ],
)
def test_what_cannot_be_read_or_done_is_refused(fhir: Fhir, text: str) -> None:
    reply = fhir.get(f"Patient?_filter={quote(text)}")
    assert reply.status in (400, 403), reply.content
    assert reply.issues[0]["code"] in ("value", "not-supported", "too-costly")


def test_an_operator_that_a_parameter_does_not_have_is_named(fhir: Fhir) -> None:
    assert "operator gt" in refused(fhir, "Patient?_filter=name%20gt%20a")


def place(id: str, latitude: float, longitude: float) -> dict[str, Any]:
    return {"resourceType": "Location", "id": id, "position": {"latitude": latitude, "longitude": longitude}}


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ("48.8566|2.3522|1|km", "paris"),
        ("48.8566|2.3522", "paris versailles"),  # no distance: 50 km
        ("48.8566|2.3522|11", "paris"),
        ("48.8566|2.3522|20|km", "paris versailles"),
        ("48.8566|2.3522|20000|m", "paris versailles"),
        ("48.8566|2.3522|12.5|%5Bmi_i%5D", "paris versailles"),
        ("48.8566|2.3522|0", "paris"),
        ("0|180|30|km", "east west"),  # across the date line
        ("90|0|150|km", "pole"),
        ("0|0|20100|km", "east nowhere paris pole versailles west"),
        ("48.8566|2.3522|1|km,0|180|30|km", "east paris west"),
    ],
)
def test_locations_are_found_near_a_point(fhir: Fhir, near: str, expected: str) -> None:
    put_all(
        fhir,
        place("paris", 48.8566, 2.3522),
        place("versailles", 48.8049, 2.1204),
        place("east", 0, 179.9),
        place("west", 0, -179.9),
        place("pole", 89, -120),
        place("nowhere", 0, 0),
        {"resourceType": "Location", "id": "without"},
    )
    assert found(fhir, f"Location?near={near}") == expected
    assert found(fhir, "Location?near:missing=true") == "without"


@pytest.mark.parametrize(
    "near", ["1", "x|1", "91|0", "0|181", "0|0|-1", "0|0|1|kg", "0|0|1|miles", "1|2|3|km|5", "NaN|0"]
)
def test_what_is_no_position_is_refused(fhir: Fhir, near: str) -> None:
    assert "near" in refused(fhir, f"Location?near={near}")


def test_a_named_query_is_refused(fhir: Fhir) -> None:
    assert "no named query" in refused(fhir, "Patient?_query=current")
