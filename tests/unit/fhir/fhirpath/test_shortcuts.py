"""``Expression.values``: the short way gives what the evaluation gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.fhirpath.expression import compile_expression

STEPS = [
    "name", "family", "given", "use", "period", "start", "telecom", "value", "system", "extension", "url", "identifier",
    "birthDate", "deceased", "contact", "relationship", "coding", "code", "text", "id", "contained", "subject",
    "component", "effective", "meta", "tag", "multipleBirth", "link", "other", "managingOrganization",
    "as(Quantity)", "as(string)", "ofType(dateTime)", "as(boolean)",
    "extension('u')", "extension('v')", "where(use='home')",
    "where(system='a')", "where(resolve() is Patient)", "where(resolve() is Resource)", "where(code='x')", "first()",
]  # fmt: skip
TEXTS = st.sampled_from(["a", "home", "x", "u", "2012-01"])
EXTRAS = st.one_of(st.none(), st.fixed_dictionaries({"extension": st.just([{"url": "u", "valueString": "e"}])}))


def repeated(items):
    return st.lists(items, min_size=1, max_size=3)


CODING = st.fixed_dictionaries({}, optional={"system": TEXTS, "code": TEXTS, "_code": EXTRAS.filter(bool)})
CONCEPT = st.fixed_dictionaries({}, optional={"coding": repeated(CODING), "text": TEXTS})
REFERENCE = st.fixed_dictionaries(
    {},
    optional={
        "reference": st.sampled_from(["Patient/1", "http://a.org/Patient/1", "#c", "#d", "Group/1", "urn:uuid:1", ""]),
        "type": st.sampled_from(["Patient", "Group", "Nothing"]),
    },
)
EXTENSION = st.one_of(
    st.fixed_dictionaries({"url": TEXTS}, optional={"valueString": TEXTS, "_valueString": EXTRAS.filter(bool)}),
    st.fixed_dictionaries({"url": TEXTS, "valueQuantity": st.fixed_dictionaries({}, optional={"system": TEXTS})}),
    st.fixed_dictionaries({"url": TEXTS, "valueReference": REFERENCE}),
)
NAME = st.fixed_dictionaries(
    {},
    optional={
        "use": TEXTS,
        "family": TEXTS,
        "_family": EXTRAS.filter(bool),
        "given": repeated(TEXTS),
        "_given": repeated(EXTRAS).filter(any),
        "period": st.fixed_dictionaries({}, optional={"start": TEXTS}),
    },
)
POINT = st.fixed_dictionaries({}, optional={"system": TEXTS, "value": TEXTS, "use": TEXTS})
PATIENT = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "id": TEXTS,
        "meta": st.fixed_dictionaries({}, optional={"tag": repeated(CODING)}),
        "contained": st.just([{"resourceType": "Patient", "id": "c", "name": [{"use": "home"}]}]),
        "extension": repeated(EXTENSION),
        "name": repeated(NAME),
        "telecom": repeated(POINT),
        "birthDate": TEXTS,
        "_birthDate": EXTRAS.filter(bool),
        "deceasedBoolean": st.booleans(),
        "contact": repeated(st.fixed_dictionaries({}, optional={"relationship": repeated(CONCEPT), "name": NAME})),
        "managingOrganization": REFERENCE,
        "link": repeated(st.fixed_dictionaries({"other": REFERENCE})),
    },
)
COMPONENT = st.fixed_dictionaries({}, optional={"code": CONCEPT, "valueString": TEXTS, "valueCodeableConcept": CONCEPT})
OBSERVATION = st.fixed_dictionaries(
    {"resourceType": st.just("Observation")},
    optional={
        "code": CONCEPT,
        "subject": REFERENCE,
        "effectiveDateTime": TEXTS,
        "valueQuantity": st.fixed_dictionaries({"value": st.integers(0, 9)}, optional={"system": TEXTS, "code": TEXTS}),
        "component": repeated(COMPONENT),
        "extension": repeated(EXTENSION),
    },
)


PATHS = [
    "Patient.name.given", "Patient.name.family", "Patient.name.period.start", "Patient.birthDate", "Patient.deceased",
    "Patient.extension.value", "Patient.extension('u').value", "Patient.extension.value.system", "Patient.meta.tag",
    "Patient.telecom.where(system='a')", "Patient.link.other.where(resolve() is Patient)", "Patient.contained",
    "Patient.contact.relationship.coding", "Patient.contact.name.given", "Observation.value", "Observation.code.coding",
    "Observation.component.value", "Observation.component.value.as(string)", "Observation.subject", "Resource.id",
    "Observation.subject.where(resolve() is Patient)", "Observation.effective", "Observation.extension.value",
]  # fmt: skip
ROOTS = st.sampled_from(["Patient", "Observation", "Resource"])
BRANCHES = st.one_of(
    st.sampled_from(PATHS),
    st.builds(lambda root, steps: ".".join([root, *steps]), ROOTS, st.lists(st.sampled_from(STEPS), max_size=4)),
)
TYPES = st.sampled_from(["Quantity", "string", "CodeableConcept", "Patient", "dateTime"])


@st.composite
def expressions(draw):
    branches = draw(st.lists(BRANCHES, min_size=1, max_size=3))
    if draw(st.booleans()):
        branches[0] = f"({branches[0]} as {draw(TYPES)})"
    return " | ".join(branches)


def unrepeated(items):
    found = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


@given(expressions(), st.one_of(PATIENT, OBSERVATION))
def test_the_short_way_gives_what_the_evaluation_gives(text, resource):
    expression = compile_expression(text)
    full = [(node.value, node.type, node.extras) for node in expression.evaluate(resource)]
    short = expression.values(resource)
    if "|" not in text:
        assert short == full
    else:
        # A union folds equal items into the first of them, whatever their types and extensions.
        assert all(item in short for item in full)
        assert all(any(item[0] == value for value, _, _ in full) for item in short)


@pytest.mark.parametrize(
    "name",
    [
        {"given": ["A", None], "_given": [None, {"id": "b"}]},
        {"given": ["A"], "_given": [{"id": "a"}, {"id": "b"}]},
        {"given": ["A", "B"], "_given": [{"id": "a"}]},
        {"_given": [None, {"id": "b"}]},
        {"family": "A", "_family": {"id": "a"}},
        {"_family": {"id": "a"}},
    ],
)
def test_extras_go_the_short_way_too(name):
    resource = {"resourceType": "Patient", "name": [name]}
    for text in ("Patient.name.given", "Patient.name.family"):
        expression = compile_expression(text)
        full = [(node.value, node.type, node.extras) for node in expression.evaluate(resource)]
        assert expression.values(resource) == full


@pytest.mark.parametrize(
    "text",
    [
        "Patient.name",
        "Patient.name.family",
        "Patient.birthDate",
        "Patient.deceased",
        "(Patient.deceased as dateTime)",
        "Patient.deceased.as(boolean)",
        "Patient.telecom.where(system='email')",
        "Patient.generalPractitioner.where(resolve() is Practitioner)",
        "Patient.address.city | Person.address.city",
        "Patient.extension('http://a.org/score').value",
        "Patient.contained",
        "Patient",
        "Observation.value",
        "id",
    ],
)
def test_the_forms_of_search_parameters_have_a_short_way(patient, text):
    expression = compile_expression(text)
    full = [(node.value, node.type, node.extras) for node in expression.evaluate(patient)]
    assert expression.values(patient) == full
    assert expression._shortcuts["Patient"] is not None


@pytest.mark.parametrize(
    "text",
    [
        "Patient.deceased.exists() and Patient.deceased != false",
        "Patient.name[0].given",
        "Patient.name.where(given = 'Jim')",
        "Patient.name.where(use = family)",
        "Patient.contained.name",
        "Patient.birthDate.extension",
        "Patient.name | Patient.name.first()",
        "Patient.name.where(resolve() is Patient)",
        "%resource.name",
    ],
)
def test_other_forms_are_evaluated_in_full(patient, text):
    expression = compile_expression(text)
    assert expression.values(patient) == [(n.value, n.type, n.extras) for n in expression.evaluate(patient)]
    assert expression._shortcuts["Patient"] is None


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "name": "text"},
        {"resourceType": "Patient", "name": [1, None, {"given": {"a": 1}}]},
        {"resourceType": "Patient", "contained": [{}, 1]},
        {"resourceType": "Alien", "name": [{"given": ["A"]}]},
        {"resourceType": ["Patient"]},
        {},
    ],
)
@pytest.mark.parametrize("text", ["Patient.name.given", "name.given", "contained", "Patient.name.period.start"])
def test_what_is_not_built_as_r4_says_does_no_harm(text, resource):
    assert isinstance(compile_expression(text).values(resource), list)
