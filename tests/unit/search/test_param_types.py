"""Each parameter type: what R4's search page says a value finds, from query text to index document."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.errors import FhirError, NotSupported, Value
from fhir_server.fhir.decimals import parse_number
from fhir_server.search.param_types.date import FIRST, LAST, date_range
from fhir_server.search.param_types.string import normalise
from tests.unit.search.finding import BASE, finds


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", **elements}


def coded(*codings: dict[str, str]) -> dict[str, Any]:
    return observation(code={"coding": list(codings)})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://loinc.org|718-7", True),
        ("718-7", True),
        ("http://loinc.org|", True),
        ("|718-7", False),
        ("http://loinc.org|718-8", False),
        ("http://snomed.info/sct|718-7", False),
        ("|LOCAL", True),
        ("local", True),
        ("http://loinc.org|local", False),
        ("a,718-7", True),
        ("http://loinc.org|local,x", False),
    ],
)
def test_a_token_is_a_code_with_or_without_its_system(value: str, expected: bool) -> None:
    resource = coded({"system": "http://loinc.org", "code": "718-7"}, {"code": "local"})
    assert finds(resource, "code", value) is expected


def test_system_and_code_of_different_codings_do_not_mix() -> None:
    resource = coded({"system": "http://a", "code": "x"}, {"system": "http://b", "code": "y"})
    assert not finds(resource, "code", "http://a|y")


def test_not_includes_resources_without_a_value() -> None:
    assert finds(observation(), "code:not", "x")
    assert not finds(coded({"code": "x"}), "code:not", "x,y")


@pytest.mark.parametrize("value", ["", "|", "a|b|c", "a\\"])
def test_a_token_of_another_form_is_refused(value: str) -> None:
    with pytest.raises(Value):
        finds(coded({"code": "x"}), "code", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("final", True),
        ("http://hl7.org/fhir/observation-status|final", True),
        ("http://hl7.org/fhir/observation-status|", True),
        ("http://elsewhere|final", False),
        ("|final", False),
    ],
)
def test_a_code_has_the_system_of_its_value_set(value: str, expected: bool) -> None:
    assert finds(observation(), "status", value) is expected


def test_booleans_and_contact_points_have_no_system() -> None:
    patient = {"resourceType": "Patient", "active": True, "telecom": [{"system": "phone", "value": "+33 1"}]}
    assert finds(patient, "active", "true")
    assert finds(patient, "active", "|true")
    assert finds(patient, "deceased", "false")
    assert finds(patient, "phone", "+33 1")
    assert not finds(patient, "email", "+33 1")


def test_of_type_takes_system_code_and_value() -> None:
    kind = {"coding": [{"system": "http://v2", "code": "MR"}]}
    patient = {"resourceType": "Patient", "identifier": [{"type": kind, "system": "urn:s", "value": "12"}]}
    assert finds(patient, "identifier:of-type", "http://v2|MR|12")
    assert not finds(patient, "identifier:of-type", "http://v2|MR|1")
    with pytest.raises(Value):
        finds(patient, "identifier:of-type", "http://v2|12")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("eve", True),
        ("EVELYN", True),
        ("Ève", True),
        ("steve", False),
        ("jean pierre", True),
        ("Jean-Pi", True),
        ("obri", True),
        ("O’Brien", True),
        ("coeur", True),
        ("(.*)eve", True),
        (".*", None),
        ("'", None),
    ],
)
def test_a_string_is_what_a_part_begins_with(value: str, expected: bool | None) -> None:
    name = {"family": "O'Brien", "given": ["Evelyn", "Jean-Pierre", "Cœur"]}
    patient = {"resourceType": "Patient", "name": [name]}
    if expected is None:
        with pytest.raises(Value):
            finds(patient, "name", value)
    else:
        assert finds(patient, "name", value) is expected


def test_exact_is_the_whole_string_case_and_accents_included() -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "Éve"}]}
    assert finds(patient, "family:exact", "Éve")
    assert not finds(patient, "family:exact", "éve")
    assert not finds(patient, "family:exact", "Év")


def test_texts_longer_than_the_index_are_refused_not_cut() -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "x" * 300}]}
    assert finds(patient, "family", "x" * 200)
    assert finds(patient, "family:exact", "x" * 300)
    assert not finds(patient, "family:exact", "x" * 299)
    with pytest.raises(Value):
        finds(patient, "family", "x" * 201)


def test_normal_forms_are_stable() -> None:
    for text in ("Dupont", "Élodie  d’Arc", "STRASSE straße", "İstanbul", "ﬁn", "日本", "a_b"):
        assert normalise(normalise(text)) == normalise(text)
    assert normalise("STRASSE") == normalise("Straße")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2013-01-14", True),
        ("eq2013-01-14", True),
        ("2013-01-14T10:00", True),
        ("ne2013-01-14", False),
        ("ne2013-01-15", True),
        ("lt2013-01-14T10:00", False),
        ("lt2013-01-14T10:01", True),
        ("le2013-01-14T10:00", True),
        ("gt2013-01-14T09:59", True),
        ("gt2013-01-14T10:00", False),
        ("ge2013-03-14", False),
        ("ge2013-01-14", True),
        ("sa2013-01-13", True),
        ("sa2013-01-14", False),
        ("eb2013-01-15", True),
        ("eb2013-01-14", False),
        ("ap2013-01-20", True),
        ("ap1990", False),
        ("2013-01-14T12:00:00%2B02:00".replace("%2B", "+"), True),
    ],
)
def test_dates_are_compared_as_ranges(value: str, expected: bool) -> None:
    """The examples of search.html#date on 2013-01-14T10:00 (UTC)."""
    assert finds(observation(effectiveDateTime="2013-01-14T10:00:00Z"), "date", value) is expected


def test_an_open_period_reaches_to_the_end() -> None:
    period = observation(effectivePeriod={"start": "2020-01-01"})
    assert finds(period, "date", "gt2030")
    assert not finds(period, "date", "eq2020")
    assert not finds(period, "date", "lt2020")


def test_a_timing_counts_by_its_outer_limits() -> None:
    timing = observation(effectiveTiming={"event": ["2020-01-01", "2020-03-01"]})
    assert finds(timing, "date", "2020")
    assert not finds(timing, "date", "2020-01")


@pytest.mark.parametrize("value", ["2020-13", "20", "yesterday", "2020-02-30", "gt", "2020-01-01T25:00", "--01"])
def test_a_date_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(Value):
        finds(observation(), "date", value)


@pytest.mark.parametrize(
    "text",
    [
        "2013-W11-4T10:00:00Z",
        "2013-W11-4T10:00:00+01:00",
        "2013-03-14T10:00:00+23:59",
        "2013-03-14T10:00+01:00:00",
        "2013-03-14T100000.000000Z",
        "2013-03-14T10:00:00,00000",
    ],
)
def test_other_forms_of_iso_8601_are_no_dates_of_fhir(text: str) -> None:
    with pytest.raises(Value):
        date_range(text)


def test_a_fraction_without_a_time_zone_is_of_utc_and_as_precise_as_it_is_written() -> None:
    low, high = date_range("2013-03-14T10:00:00.00000")
    assert (low, high - low) == (datetime(2013, 3, 14, 10, tzinfo=UTC), timedelta(milliseconds=1))
    assert date_range("2013-03-14T10:00:00.0000Z") == (low, high)


def test_dates_at_the_ends_of_time_stay_within() -> None:
    assert date_range("9999-12-31")[1] == LAST
    assert date_range("0001-01-01T00:00:00+14:00")[0] == FIRST
    low, high = date_range("2020-01-01T00:00:00.1234567Z")
    assert (low.microsecond, high.microsecond) == (123_000, 124_000)


@pytest.mark.parametrize(
    ("held", "value", "expected"),
    [
        ("100", "100", True),
        ("99.5", "100", True),
        ("100.5", "100", False),
        ("99.6", "100.00", False),
        ("105", "1e2", False),
        ("95", "1e2", True),
        ("100", "lt100", False),
        ("99.99", "lt100", True),
        ("100", "le100", True),
        ("100.4", "gt100", True),
        ("100", "ge100", True),
        ("100.4", "ne100", False),
        ("101", "ne100", True),
        ("109", "ap100", True),
        ("111", "ap100", False),
    ],
)
def test_numbers_have_the_precision_they_are_searched_with(held: str, value: str, expected: bool) -> None:
    risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": parse_number(held)}]}
    assert finds(risk, "probability", value) is expected


@pytest.mark.parametrize("value", ["abc", "1..2", "NaN", "1e99999", "0x10", "1" * 70, ""])
def test_a_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(Value):
        finds({"resourceType": "RiskAssessment"}, "probability", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5.4|http://unitsofmeasure.org|mg", True),
        ("5.40e-3|http://unitsofmeasure.org|g", True),
        ("5.4||mg", True),
        ("5.4||milligram", True),
        ("5.4", True),
        ("le5.4|http://unitsofmeasure.org|mg", True),
        ("ap5|http://unitsofmeasure.org|mg", True),
        ("5.4|http://elsewhere|mg", False),
        ("5.4||g", False),
    ],
)
def test_a_quantity_is_a_number_with_its_unit(value: str, expected: bool) -> None:
    quantity = {
        "value": parse_number("5.4"),
        "system": "http://unitsofmeasure.org",
        "code": "mg",
        "unit": "milligram",
    }
    assert finds(observation(valueQuantity=quantity), "value-quantity", value) is expected


def test_number_and_unit_of_different_components_do_not_mix() -> None:
    one, two = {"value": 1, "code": "mg"}, {"value": 2, "code": "g"}
    resource = observation(component=[{"valueQuantity": one}, {"valueQuantity": two}])
    assert finds(resource, "component-value-quantity", "1||mg")
    assert not finds(resource, "component-value-quantity", "1||g")


def test_a_quantity_below_a_limit_is_a_range() -> None:
    resource = observation(valueQuantity={"value": 5, "comparator": "<"})
    assert finds(resource, "value-quantity", "lt3")
    assert not finds(resource, "value-quantity", "gt5")
    assert not finds(resource, "value-quantity", "5")


@pytest.mark.parametrize("value", ["5|mg", "5|a|b|c", "|a|b", "5|"])
def test_a_quantity_of_another_form_is_refused(value: str) -> None:
    with pytest.raises(Value):
        finds(observation(), "value-quantity", value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("subject", "Patient/23", True),
        ("subject", "23", True),
        ("subject:Patient", "23", True),
        ("subject:Group", "23", False),
        ("subject", f"{BASE}/Patient/23", True),
        ("subject", "http://elsewhere/Patient/23", False),
        ("subject", "Patient/23/_history/1", False),
        ("patient", "23", True),
        ("patient", "Patient/23", True),
        ("subject", "Patient/2", False),
        ("subject", "Group/23", False),
    ],
)
def test_a_reference_is_an_id_a_local_reference_or_a_url(name: str, value: str, expected: bool) -> None:
    assert finds(observation(subject={"reference": "Patient/23"}), name, value) is expected


def test_a_versioned_reference_is_found_with_and_without_its_version() -> None:
    resource = observation(subject={"reference": "Patient/23/_history/4"})
    assert finds(resource, "subject", "Patient/23")
    assert finds(resource, "subject", "Patient/23/_history/4")
    assert not finds(resource, "subject", "Patient/23/_history/5")


def test_own_absolute_references_are_local() -> None:
    assert finds(observation(subject={"reference": f"{BASE}/Patient/23"}), "subject", "Patient/23")


def test_a_logical_reference_is_found_by_its_identifier() -> None:
    resource = observation(subject={"identifier": {"system": "urn:ins", "value": "1"}})
    assert finds(resource, "subject:identifier", "urn:ins|1")
    assert finds(resource, "subject:missing", "false")
    assert not finds(resource, "subject:identifier", "urn:ins|2")


@pytest.mark.parametrize(
    ("name", "value"), [("subject", "a b"), ("subject:Patient", "Group/1"), ("patient:Group", "1"), ("subject", "{}")]
)
def test_a_reference_that_cannot_be_is_refused(name: str, value: str) -> None:
    with pytest.raises(Value):
        finds(observation(), name, value)


def test_canonicals_are_found_with_and_without_their_version() -> None:
    resource = {"resourceType": "MeasureReport", "measure": "http://m|1.0"}
    assert finds(resource, "measure", "http://m")
    assert finds(resource, "measure", "http://m|1.0")
    assert not finds(resource, "measure", "http://m|2.0")


def test_uris_are_whole_and_keep_their_case() -> None:
    value_set = {"resourceType": "ValueSet", "url": "http://Acme.org/fhir"}
    assert finds(value_set, "url", "http://Acme.org/fhir")
    assert not finds(value_set, "url", "http://acme.org/fhir")
    assert not finds(value_set, "url", "http://Acme.org")


def test_a_value_that_leaves_no_entry_is_not_missing() -> None:
    assert finds(observation(code={"text": "only"}), "code:missing", "false")
    assert finds(observation(subject={"display": "only"}), "subject:missing", "false")
    patient = {"resourceType": "Patient", "name": [{"family": "…"}]}
    assert finds(patient, "family:missing", "false")
    assert finds(patient, "given:missing", "true")


def test_extensions_that_a_parameter_stops_at_give_their_value() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene"
    concept = {"coding": [{"system": "http://hgnc", "code": "BRCA1"}]}
    resource = observation(extension=[{"url": url, "valueCodeableConcept": concept}])
    assert finds(resource, "gene-identifier", "http://hgnc|brca1")


@pytest.mark.parametrize(
    "name",
    [
        "code:exact",
        "code:contains",
        "code:of-type",
        "status:text",
        "name:text",
        "name:below",
        "birthdate:exact",
        "birthdate:not",
        "active:in",
        "active:below",
        "active:text",
        "phone:text",
        "url:contains",
        "url:not",
        "date:exact",
        "subject:Foo",
        "code:$ne",
        "_id:text",
        "_text:exact",
        "_content:contains",
        "_lastUpdated:not",
    ],
)
def test_other_modifiers_are_refused(name: str) -> None:
    patient = dict.fromkeys(("name", "birthdate", "active", "phone"), "Patient")
    kind = {**patient, "url": "ValueSet"}.get(name.partition(":")[0], "Observation")
    with pytest.raises(NotSupported) as caught:
        finds({"resourceType": kind}, name, "2020")
    assert name.partition(":")[0] in caught.value.issues[0].text.en


@pytest.mark.parametrize("value", ["{'$ne': 1}", '{"$gt": ""}', "$where", "[$regex]", "' || 1==1"])
def test_operators_in_values_stay_values(value: str) -> None:
    """Attacks 8 and 9: the text is compared, or refused, never interpreted."""
    resource = coded({"system": "http://a", "code": "x"})
    patient = {"resourceType": "Patient", "name": [{"family": "x"}]}
    for target, name in ((resource, "code"), (patient, "name"), (patient, "family:exact"), (resource, "subject")):
        try:
            assert not finds(target, name, value)
        except FhirError as error:
            assert error.status == 400  # noqa: PT017


@pytest.mark.parametrize(
    ("held", "value", "expected"),
    [
        ({"onsetRange": {"low": {"value": 5, "code": "a"}, "high": {"value": 10}}}, "gt9", True),
        ({"onsetRange": {"low": {"value": 5, "code": "a"}, "high": {"value": 10}}}, "gt10", False),
        ({"onsetRange": {"low": {"value": 5, "code": "a"}, "high": {"value": 10}}}, "7", False),
        ({"onsetRange": {"low": {"value": 5, "code": "a"}}}, "gt100||a", True),
        ({"onsetRange": {"high": {"value": 5, "unit": "years"}}}, "lt1||years", True),
        ({"onsetAge": {"value": 52, "code": "a"}}, "52", True),
        ({"onsetAge": {"code": "a"}}, "ne1", False),
    ],
)
def test_a_range_is_compared_as_a_range(held: dict[str, Any], value: str, expected: bool) -> None:
    assert finds({"resourceType": "Condition", **held}, "onset-age", value) is expected


def test_sampled_data_counts_by_its_limits() -> None:
    data = {"origin": {"value": 0, "code": "mV"}, "lowerLimit": -3, "upperLimit": 3}
    assert finds(observation(valueSampledData=data), "value-quantity", "gt2||mV")
    assert not finds(observation(valueSampledData=data), "value-quantity", "gt3")
    assert not finds(observation(valueSampledData={"origin": {"value": 0}}), "value-quantity", "ne99")


def test_money_has_its_currency_for_a_unit() -> None:
    invoice = {"resourceType": "Invoice", "totalGross": {"value": 10, "currency": "EUR"}}
    assert finds(invoice, "totalgross", "10|urn:iso:std:iso:4217|EUR")
    assert not finds(invoice, "totalgross", "10||USD")
    assert finds({"resourceType": "Invoice", "totalGross": {"value": 10}}, "totalgross", "10")


def test_a_chance_may_be_a_range() -> None:
    risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityRange": {"low": {"value": 1}}}]}
    assert finds(risk, "probability", "gt50")
    assert not finds(risk, "probability", "sa1")
    assert finds(risk, "probability", "ge1")
    assert not finds(risk, "probability", "eb1")
    assert not finds(risk, "probability", "le0")


def test_a_document_is_found_by_the_resource_it_begins_with() -> None:
    entry = {"resource": {"resourceType": "Composition", "id": "9"}}
    bundle = {"resourceType": "Bundle", "type": "document", "entry": [entry]}
    assert finds(bundle, "composition", "Composition/9")
    assert finds(bundle, "message:missing", "false")
    assert not finds(bundle, "message", "MessageHeader/9")
