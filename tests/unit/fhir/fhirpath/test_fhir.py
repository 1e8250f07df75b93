"""What FHIR adds: http://hl7.org/fhir/R4/fhirpath.html — types of data, functions, variables."""

import datetime
from decimal import Decimal

import pytest

from fhir_server.errors import Processing
from fhir_server.fhir.fhirpath.expression import compile_expression
from fhir_server.fhir.fhirpath.nodes import Node, root_node

YES, NO, NOTHING = [True], [False], []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Observation.value.unit", ["lbs"]),
        ("Observation.valueQuantity.unit", NOTHING),
        ("Observation.value is Quantity", YES),
        ("(Observation.value as Quantity).unit", ["lbs"]),
        ("Observation.value.as(Period).start", NOTHING),
        ("Observation.value.ofType(Quantity).value", [Decimal("185.0")]),
        ("Observation.effective is dateTime", YES),
        ("Observation.effective <= @2016-03-28", YES),
        ("Encounter.name.given", NOTHING),
        ("Resource.id", ["example"]),
        ("DomainResource.contained.name", ["Clinic"]),
        ("multipleBirth = 2", YES),
        ("birthDate.extension('http://a.org/birth-time').value is dateTime", YES),
        ("birthDate.hasExtension('http://a.org/birth-time')", YES),
        ("birthDate.hasExtension('http://a.org/other')", NO),
        ("extension('http://a.org/score').value", [Decimal("6.30")]),
        ("extension(%`ext-none`)", NOTHING),
        ("deceased.exists()", YES),
        ("deceased.hasValue()", NO),
        ("deceased.extension.value", ["unknown"]),
        ("deceased.getValue()", NOTHING),
        ("birthDate.hasValue()", YES),
        ("birthDate.getValue() is Date", YES),
        ("name.hasValue()", NO),
        ("name.first().hasValue()", NO),
        ("active.getValue() is System.Boolean", YES),
        ("1.hasValue()", YES),
        ("Patient.deceased.exists() and Patient.deceased != false", NOTHING),
        ("contact.relationship.coding.code", ["N"]),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", YES),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Person')", NO),
        ("conformsTo('http://a.org/trash')", "Processing"),
        ("name.conformsTo('http://a.org/trash')", "Processing"),
        ("{}.conformsTo('http://a.org/trash')", NOTHING),
        ("gender.memberOf('http://a.org/vs')", "Processing"),
        ("{}.memberOf('http://a.org/vs')", NOTHING),
        ("%sct", ["http://snomed.info/sct"]),
        ("%loinc", ["http://loinc.org"]),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("%resource.id", ["example"]),
        ("%rootResource.id", ["example"]),
        ("%context.id", ["example"]),
        ("name.select(%context.id)", ["example"] * 3),
        ("%unknown", "Processing"),
    ],
)
def test_fhir_data_read_as_fhir_says(outcome, text, expected):
    assert outcome(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("managingOrganization.resolve().name", ["Clinic"]),
        ("managingOrganization.resolve() is Organization", YES),
        ("managingOrganization.where(resolve() is Patient)", NOTHING),
        ("generalPractitioner.where(resolve() is Practitioner).reference", ["Practitioner/7"]),
        ("generalPractitioner.where(resolve() is Organization).display", ["Elsewhere"]),
        ("generalPractitioner.where(resolve().is(Organization)).display", ["Elsewhere"]),
        ("generalPractitioner.where(resolve() is DomainResource).count()", [2]),
        ("generalPractitioner.resolve().id", ["7"]),
        ("generalPractitioner.first().resolve().ofType(Practitioner).exists()", YES),
        ("Observation.subject.resolve().id", ["example"]),
        ("Observation.subject.where(resolve() is Patient).exists()", YES),
        ("name.resolve()", NOTHING),
        ("'#nobody'.resolve()", NOTHING),
        ("'#'.resolve().id", ["example"]),
        ("'urn:uuid:1'.resolve()", NOTHING),
        ("'Patient?name=x'.resolve() is Patient", YES),
        ("'Nothing?name=x'.resolve() is Patient", NOTHING),
        ("{}.resolve() is Patient", NOTHING),
    ],
)
def test_a_reference_resolves_as_far_as_its_text_says(outcome, text, expected):
    assert outcome(text) == expected


def test_a_resolver_is_asked_only_for_what_the_text_does_not_say(patient):
    asked = []

    def resolver(reference):
        asked.append(reference)
        return {"resourceType": "Practitioner", "id": "7", "active": True} if "7" in reference else None

    assert compile_expression("generalPractitioner.where(resolve() is Practitioner)").evaluate(
        patient, resolver=resolver
    )
    assert asked == []
    found = compile_expression("generalPractitioner.resolve().active").evaluate(patient, resolver=resolver)
    assert [node.value for node in found] == [True]
    assert asked == ["Practitioner/7"]
    assert compile_expression("'urn:uuid:7'.resolve() is Practitioner").boolean(patient, resolver=resolver)
    assert compile_expression("('urn:uuid:8'.resolve() is Practitioner).empty()").boolean(patient, resolver=resolver)


def test_member_of_asks_the_terminology_service(patient):
    calls = []

    def member_of(value, type_code, url):
        calls.append((value, type_code, url))
        return True

    assert compile_expression("gender.memberOf('http://a.org/vs')").boolean(patient, member_of=member_of)
    assert calls == [("male", "code", "http://a.org/vs")]
    unknown = compile_expression("gender.memberOf('http://a.org/vs')").evaluate(patient, member_of=lambda *_: None)
    assert unknown == []


def test_conforms_to_asks_the_validator(patient):
    expression = compile_expression("conformsTo('http://a.org/profile')")
    assert expression.boolean(patient, conforms_to=lambda resource, url: resource["id"] == "example")
    with pytest.raises(Processing):
        expression.boolean(patient, conforms_to=lambda resource, url: None)


def test_the_moment_is_the_one_that_the_caller_gives(patient):
    now = datetime.datetime(2020, 2, 29, 12, 30, 15, 250_999, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))

    def text(expression):
        return [node.value for node in compile_expression(expression).evaluate(patient, now=now)]

    assert text("now().toString()") == ["2020-02-29T12:30:15.250+01:00"]
    assert text("today().toString()") == ["2020-02-29"]
    assert text("timeOfDay().toString()") == ["12:30:15.250"]


def test_variables_are_nodes_resources_values_or_lists_of_these(patient, observation):
    def evaluate(text, value):
        return [node.value for node in compile_expression(text).evaluate(patient, variables={"given": value})]

    assert evaluate("%given", [1, "a", None]) == [1, "a"]
    assert evaluate("%given.status", observation) == ["final"]
    assert evaluate("%given.unit", Node(observation["valueQuantity"], "Quantity")) == ["lbs"]
    assert evaluate("%given + 1", Decimal("1.5")) == [Decimal("2.5")]
    assert evaluate("%given", None) == []


def test_a_variable_of_the_caller_replaces_one_of_fhir(patient, observation):
    found = compile_expression("%resource.status").evaluate(patient, variables={"resource": observation})
    assert [node.value for node in found] == ["final"]


def test_the_resource_of_a_node_is_the_nearest_and_its_root_the_container(patient):
    contained = compile_expression("contained.name").evaluate(patient)[0]
    assert [n.value for n in compile_expression("%resource.id").evaluate(contained)] == ["org"]
    assert [n.value for n in compile_expression("%rootResource.id").evaluate(contained)] == ["example"]
    assert [n.value for n in compile_expression("%context").evaluate(contained)] == ["Clinic"]


def test_an_entry_of_a_bundle_is_its_own_root(patient):
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}]}
    (name,) = compile_expression("Bundle.entry.resource.ofType(Patient).name.where(use = 'usual')").evaluate(bundle)
    assert name.path() == "Bundle.entry[0].resource.name[1]"
    assert [n.value for n in compile_expression("%rootResource.id").evaluate(name)] == ["example"]


def test_a_node_without_a_resource_has_no_resource():
    assert compile_expression("%resource | %rootResource").evaluate(Node({"unit": "kg"}, "Quantity")) == []
    assert compile_expression("'#a'.resolve()").evaluate(Node({"unit": "kg"}, "Quantity")) == []


def test_a_node_knows_its_place_its_type_and_its_extras(patient):
    (birth_time,) = compile_expression("birthDate.extension.value").evaluate(patient)
    assert birth_time.path() == "Patient.birthDate.extension[0].value"
    assert birth_time.key == ("valueDateTime", None)
    assert repr(birth_time) == "<Node dateTime Patient.birthDate.extension[0].value>"
    (birth_date,) = compile_expression("birthDate").evaluate(patient)
    assert birth_date.extras == patient["_birthDate"]
    assert [n.path() for n in compile_expression("name.given").evaluate(patient)][3] == "Patient.name[2].given[0]"
    assert [n.type for n in compile_expression("contact").evaluate(patient)] == ["Patient.contact"]
    assert [n.type for n in compile_expression("contained").evaluate(patient)] == ["Organization"]


def test_nulls_beside_extensions_keep_their_places():
    patient = {
        "resourceType": "Patient",
        "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "u"}]}, None]}],
    }
    found = compile_expression("name.given").evaluate(patient)
    assert [(node.value, node.key, node.extras is None) for node in found] == [
        ("A", ("given", 0), True),
        (None, ("given", 1), False),
    ]
    assert compile_expression("name.given.extension.url").boolean(patient)
    assert compile_expression("name.children().count() = 2").boolean(patient)


def test_items_with_extensions_only_are_equal_when_these_are(patient):
    assert compile_expression("deceased in deceased").boolean(patient)
    assert compile_expression("deceased.combine(deceased).isDistinct().not()").boolean(patient)


def test_a_resource_of_unknown_type_has_no_children():
    assert root_node({"resourceType": "Alien"}).type == "Resource"
    assert (
        compile_expression("children() | name | id").evaluate({"resourceType": "Alien", "id": "1", "name": 2})[0].value
        == "1"
    )


@pytest.mark.parametrize(
    ("div", "expected"),
    [
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p class="a">Text<!-- c --></p></div>', YES),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><img src="#a" alt="b"/></div>', YES),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><a href="http://a.org">x</a></div>', YES),
        ('<div xmlns="http://www.w3.org/1999/xhtml"> </div>', NO),
        ("<div>no namespace</div>", NO),
        ('<p xmlns="http://www.w3.org/1999/xhtml">x</p>', NO),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>', NO),
        ('<div xmlns="http://www.w3.org/1999/xhtml" onclick="x">x</div>', NO),
        ('<div xmlns="http://www.w3.org/1999/xhtml"><?php x?>y</div>', NO),
        ('<!DOCTYPE div [<!ENTITY a "b">]><div xmlns="http://www.w3.org/1999/xhtml">&a;</div>', NO),
        ('<div xmlns="http://www.w3.org/1999/xhtml">', NO),
    ],
)
def test_a_narrative_is_checked_for_what_fhir_allows(div, expected):
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    assert [n.value for n in compile_expression("text.`div`.htmlChecks()").evaluate(resource)] == expected


def test_no_narrative_no_check(outcome):
    assert outcome("text.`div`.htmlChecks()") == []


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ({"value": 5, "comparator": "<", "code": "mg"}, "value > 3 'mg'", "Processing"),
        ({"value": 5, "code": "mg", "system": "http://unitsofmeasure.org"}, "value > 3 'mg'", YES),
        ({"value": 5, "code": "wk", "system": "http://unitsofmeasure.org"}, "value = 5 weeks", YES),
        ({"value": 5, "code": "mg", "system": "http://a.org"}, "value = 5 'mg'", NO),
        ({"value": 5, "unit": "tablets"}, "value = 5 'tablets'", YES),
        ({"value": 5}, "value = 5", YES),
        ({"code": "mg"}, "value = 5 'mg'", NO),
        ("text", "value = 5 'mg'", NO),
        ({"value": True}, "value = 1 '1'", NO),
    ],
)
def test_a_quantity_of_a_record_is_one_of_the_system_when_it_says_enough(value, text, expected):
    resource = {"resourceType": "Observation", "valueQuantity": value}
    try:
        assert [node.value for node in compile_expression(text).evaluate(resource)] == expected
    except Processing:
        assert expected == "Processing"


@pytest.mark.parametrize(
    ("property_name", "value"),
    [
        ("valueBoolean", "true"),
        ("valueInteger", True),
        ("valueString", 1),
        ("valueDateTime", 2012),
        ("valueTime", 10),
        ("valueDateTime", "next week, as far as anyone can tell from here"),
    ],
)
def test_a_primitive_of_the_wrong_json_type_has_no_system_value(property_name, value):
    resource = {"resourceType": "Observation", property_name: value}
    assert compile_expression("value.getValue()").evaluate(resource) == []
    assert compile_expression("value = 1").evaluate(resource)[0].value is False


def test_a_time_of_a_record_is_a_time():
    resource = {"resourceType": "Observation", "valueTime": "10:30:00"}
    assert compile_expression("value = @T10:30:00 and value > @T10:29:59.9").boolean(resource)
