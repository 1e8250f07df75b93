"""FHIRPath Patch: the cases of HL7's test suite, and every rule with its error."""

from copy import deepcopy
from typing import Any

import pytest

from fhir_server.errors import Invalid, Processing, TooCostly
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.patch.fhirpath_patch import apply_fhirpath_patch

Resource = dict[str, Any]


def operation(kind: str, path: str, **parts: Any) -> Resource:
    """Build one operation; a part is a value (``valueDate="…"``), or the body of a part named so."""
    listed: list[Resource] = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if name in ("index", "source", "destination"):
            listed.append({"name": name, "valueInteger": value})
        elif name == "name":
            listed.append({"name": name, "valueString": value})
        elif name == "value":
            listed.append({"name": "value", **value})
        else:
            listed.append({"name": "value", name: value})
    return {"name": "operation", "part": listed}


def patch(resource: Resource, *operations: Resource) -> Resource:
    """Apply the operations and make sure that nothing that was passed in has changed."""
    parameters = {"resourceType": "Parameters", "parameter": list(operations)}
    before = deepcopy((resource, parameters))
    outcome = apply_fhirpath_patch(resource, parameters)
    assert (resource, parameters) == before
    return outcome


def patient(**members: Any) -> Resource:
    return {"resourceType": "Patient", **members}


def identifiers(*values: str) -> Resource:
    return patient(identifier=[{"system": "http://example.org", "value": value} for value in values])


def test_no_operations_change_nothing() -> None:
    resource = patient(birthDate="1920-01-01")
    assert apply_fhirpath_patch(resource, {"resourceType": "Parameters"}) == resource


def test_a_primitive_is_added_replaced_and_deleted() -> None:
    born = patient(birthDate="1920-01-01")
    assert patch(patient(), operation("add", "Patient", name="birthDate", valueDate="1930-01-01")) == patient(
        birthDate="1930-01-01"
    )
    assert patch(born, operation("replace", "Patient.birthDate", valueDate="1930-01-01")) == patient(
        birthDate="1930-01-01"
    )
    assert patch(born, operation("delete", "Patient.birthDate")) == patient()


def test_a_nested_primitive_is_added_replaced_and_deleted() -> None:
    contact = patient(contact=[{"name": {"text": "a name"}, "gender": "male"}])
    replaced = patch(contact, operation("replace", "Patient.contact[0].gender", valueCode="female"))
    assert replaced == patient(contact=[{"name": {"text": "a name"}, "gender": "female"}])
    deleted = patch(contact, operation("delete", "Patient.contact[0].gender"))
    assert deleted == patient(contact=[{"name": {"text": "a name"}}])
    assert patch(deleted, operation("add", "Patient.contact[0]", name="gender", valueCode="male")) == contact


def test_deleting_the_only_member_deletes_what_held_it() -> None:
    contact = patient(contact=[{"name": {"text": "a name"}, "gender": "male"}])
    outcome = patch(contact, operation("delete", "Patient.contact[0].name.text"))
    assert outcome == patient(contact=[{"gender": "male"}])


def test_a_complex_value_is_added_replaced_and_deleted() -> None:
    married = patient(maritalStatus={"id": "1", "text": "married"})
    added = patch(
        patient(), operation("add", "Patient", name="maritalStatus", valueCodeableConcept={"text": "married"})
    )
    assert added == patient(maritalStatus={"text": "married"})
    new = {"id": "2", "text": "not married"}
    replaced = patch(married, operation("replace", "Patient.maritalStatus", valueCodeableConcept=new))
    assert replaced == patient(maritalStatus=new)
    assert patch(married, operation("delete", "Patient.maritalStatus")) == patient()


def test_a_backbone_element_is_given_by_its_parts() -> None:
    parts = {
        "part": [
            {"name": "name", "valueHumanName": {"text": "a name"}},
            {"name": "relationship", "valueCodeableConcept": {"text": "friend"}},
            {"name": "relationship", "valueCodeableConcept": {"text": "sister"}},
            {"name": "gender", "valueCode": "female", "_valueCode": {"id": "g"}},
        ]
    }
    wanted = {
        "name": {"text": "a name"},
        "relationship": [{"text": "friend"}, {"text": "sister"}],
        "gender": "female",
        "_gender": {"id": "g"},
    }
    assert patch(patient(), operation("add", "Patient", name="contact", value=parts)) == patient(contact=[wanted])


def test_backbone_elements_stand_in_each_other_and_in_datatypes() -> None:
    answer = {"name": "answer", "part": [{"name": "value", "valueDecimal": FhirDecimal("6.30")}]}
    inner = {"name": "item", "part": [{"name": "linkId", "valueString": "1.1"}, answer]}
    item = {"part": [{"name": "linkId", "valueString": "1"}, inner]}
    outcome = patch(
        {"resourceType": "QuestionnaireResponse"}, operation("add", "QuestionnaireResponse", name="item", value=item)
    )
    assert str(outcome["item"][0]["item"][0]["answer"][0]["valueDecimal"]) == "6.30"
    timing = {"part": [{"name": "frequency", "valueInteger": 2}]}
    request = {"resourceType": "MedicationRequest", "dosageInstruction": [{"timing": {"code": {"text": "x"}}}]}
    outcome = patch(
        request, operation("add", "MedicationRequest.dosageInstruction.timing", name="repeat", value=timing)
    )
    assert outcome["dosageInstruction"][0]["timing"]["repeat"] == {"frequency": 2}


def test_a_whole_backbone_element_is_deleted() -> None:
    assert patch(patient(contact=[{"gender": "male"}]), operation("delete", "Patient.contact[0]")) == patient()


@pytest.mark.parametrize(("index", "outcome"), [(0, "n123"), (1, "1n23"), (2, "12n3"), (3, "123n")])
def test_an_insert_puts_the_value_at_its_index(index: int, outcome: str) -> None:
    value = {"system": "http://example.org", "value": "n"}
    done = patch(identifiers(*"123"), operation("insert", "Patient.identifier", index=index, valueIdentifier=value))
    assert done == identifiers(*outcome)


def test_an_insert_into_a_list_without_elements_begins_it() -> None:
    insert = operation("insert", "Patient.name.given", index=0, valueString="Anne")
    assert patch(patient(name=[{"family": "D"}]), insert) == patient(name=[{"family": "D", "given": ["Anne"]}])


def test_an_added_element_comes_last() -> None:
    value = {"system": "http://example.org", "value": "3"}
    assert patch(identifiers("1", "2"), operation("add", "Patient", name="identifier", valueIdentifier=value)) == (
        identifiers("1", "2", "3")
    )


@pytest.mark.parametrize(
    ("source", "destination", "outcome"),
    [(3, 1, "1423"), (0, 3, "2341"), (1, 0, "2134"), (1, 2, "1324"), (2, 2, "1234"), (3, 0, "4123")],
)
def test_a_move_reorders_one_list(source: int, destination: int, outcome: str) -> None:
    move = operation("move", "Patient.identifier", source=source, destination=destination)
    assert patch(identifiers(*"1234"), move) == identifiers(*outcome)


def test_operations_see_what_the_ones_before_them_did() -> None:
    outcome = patch(
        identifiers("1", "2", "3"),
        operation("delete", "Patient.identifier[0]"),
        operation("replace", "Patient.identifier[0].value", valueString="two"),
        operation("move", "Patient.identifier", source=1, destination=0),
    )
    assert outcome == identifiers("3", "two")


def test_a_path_may_choose_by_content() -> None:
    outcome = patch(identifiers("1", "2"), operation("delete", "Patient.identifier.where(value = '1')"))
    assert outcome == identifiers("2")


def test_deleting_what_is_not_there_is_no_error() -> None:
    assert patch(patient(), operation("delete", "Patient.birthDate")) == patient()


def test_a_choice_takes_the_property_of_its_values_type() -> None:
    observation = {"resourceType": "Observation"}
    for name in ("value", "value[x]", "valueQuantity"):
        added = patch(observation, operation("add", "Observation", name=name, valueQuantity={"value": 1}))
        assert added == {"resourceType": "Observation", "valueQuantity": {"value": 1}}
    replaced = patch(added, operation("replace", "Observation.value", valueString="high"))
    assert replaced == {"resourceType": "Observation", "valueString": "high"}
    assert patch(replaced, operation("delete", "Observation.value")) == observation


def test_a_choice_that_has_a_value_takes_no_second_of_another_type() -> None:
    with pytest.raises(Processing, match="exists already"):
        patch(
            {"resourceType": "Observation", "valueString": "x"},
            operation("add", "Observation", name="value", valueQuantity={"value": 1}),
        )


def test_primitives_in_lists_keep_their_siblings() -> None:
    name = {"given": ["Anne", "Marie"], "_given": [None, {"id": "m"}]}
    resource = patient(name=[name])
    added = operation("insert", "Patient.name[0].given", index=0, valueString="Zoé")
    assert patch(resource, added)["name"] == [{"given": ["Zoé", "Anne", "Marie"], "_given": [None, None, {"id": "m"}]}]
    assert patch(resource, operation("delete", "Patient.name[0].given[0]"))["name"] == [
        {"given": ["Marie"], "_given": [{"id": "m"}]}
    ]
    assert patch(resource, operation("delete", "Patient.name[0].given[1]"))["name"] == [{"given": ["Anne"]}]
    moved = patch(resource, operation("move", "Patient.name[0].given", source=1, destination=0))
    assert moved["name"] == [{"given": ["Marie", "Anne"], "_given": [{"id": "m"}, None]}]


def test_a_value_brings_its_own_sibling() -> None:
    extras = {"extension": [{"url": "urn:x", "valueBoolean": True}]}
    value = {"valueDate": "1930", "_valueDate": extras}
    outcome = patch(patient(birthDate="1920"), operation("replace", "Patient.birthDate", value=value))
    assert outcome == patient(birthDate="1930", _birthDate=extras)
    only = patch(patient(), operation("add", "Patient", name="birthDate", value={"_valueDate": extras}))
    assert only == patient(_birthDate=extras)


def test_an_extension_is_added_to_a_primitive() -> None:
    extension = {"url": "urn:x", "valueBoolean": True}
    parts = {"part": [{"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueBoolean": True}]}
    added = operation("add", "Patient.birthDate", name="extension", value=parts)
    assert patch(patient(birthDate="1920"), added) == patient(birthDate="1920", _birthDate={"extension": [extension]})
    names = patient(name=[{"given": ["Anne", "Marie"]}])
    added = operation("add", "Patient.name.given[1]", name="extension", value=parts)
    assert patch(names, added)["name"] == [{"given": ["Anne", "Marie"], "_given": [None, {"extension": [extension]}]}]
    deleted = patch(patch(names, added), operation("delete", "Patient.name.given[1].extension"))
    assert deleted == names


def test_a_contained_resource_is_added_and_patched() -> None:
    inner = {"resourceType": "Organization", "id": "o", "name": "Clinic"}
    outcome = patch(
        patient(),
        operation("add", "Patient", name="contained", value={"resource": inner}),
        operation("replace", "Patient.contained[0].name", valueString="Hospital"),
    )
    assert outcome == patient(contained=[{**inner, "name": "Hospital"}])


def test_the_narrative_is_replaced_by_a_string() -> None:
    resource = patient(text={"status": "generated", "div": "<div>a</div>"})
    outcome = patch(resource, operation("replace", "Patient.text.div", valueString="<div>b</div>"))
    assert outcome["text"]["div"] == "<div>b</div>"


@pytest.mark.parametrize(
    ("resource", "asked"),
    [
        (patient(), operation("replace", "Patient.birthDate", valueDate="1930")),
        (patient(), operation("add", "Patient.name", name="family", valueString="x")),
        (identifiers("1", "2"), operation("delete", "Patient.identifier")),
        (identifiers("1", "2"), operation("replace", "Patient.identifier.value", valueString="x")),
        (identifiers("1", "2"), operation("add", "Patient.identifier", name="value", valueString="x")),
        (patient(active=True), operation("add", "Patient", name="active", valueBoolean=False)),
        (patient(), operation("add", "Patient", name="nothing", valueString="x")),
        (patient(), operation("add", "Patient", name="birthDate", valueInteger=3)),
        (patient(), operation("add", "Patient", name="birthDate", valueString="1930")),
        (patient(), operation("add", "Patient", name="birthDate", value={"part": [{"name": "x", "valueCode": "y"}]})),
        (patient(), operation("add", "Patient", name="contact", valueString="x")),
        (patient(), operation("add", "Patient", name="name", valueCodeableConcept={"text": "x"})),
        (patient(), operation("add", "Patient", name="contact", value={"part": [{"name": "x", "valueCode": "y"}]})),
        (
            patient(),
            operation("add", "Patient", name="contact", value={"part": [{"name": "gender", "valueCode": "male"}] * 2}),
        ),
        ({"resourceType": "Observation"}, operation("add", "Observation", name="value", value={"part": []})),
        (identifiers("1"), operation("insert", "Patient.identifier", index=2, valueIdentifier={"value": "x"})),
        (identifiers("1"), operation("insert", "Patient.identifier", index=-1, valueIdentifier={"value": "x"})),
        (identifiers("1"), operation("insert", "Patient.identifier", index=0, valueString="x")),
        (identifiers("1", "2"), operation("insert", "Patient.identifier[0]", index=0, valueIdentifier={"value": "x"})),
        (identifiers("1", "2"), operation("insert", "Patient.identifier.value", index=0, valueString="x")),
        (patient(active=True), operation("insert", "Patient.active", index=0, valueBoolean=True)),
        (patient(), operation("insert", "Patient", index=0, valueString="x")),
        (patient(), operation("insert", "Nothing", index=0, valueString="x")),
        (identifiers("1", "2"), operation("move", "Patient.identifier", source=2, destination=0)),
        (identifiers("1", "2"), operation("move", "Patient.identifier", source=0, destination=2)),
        (identifiers("1", "2"), operation("move", "Patient.identifier", source=-1, destination=0)),
        (patient(), operation("move", "Patient.nothing", source=0, destination=0)),
        (patient(), operation("delete", "Patient")),
        (patient(), operation("replace", "Patient", value={"resource": patient(active=True)})),
        (patient(active=True), operation("delete", "Patient.active.not()")),
        (patient(active=True), operation("replace", "1 + 1", valueInteger=3)),
        (patient(id="p"), operation("replace", "Patient.id", valueId="q")),
        (patient(id="p"), operation("delete", "Patient.id")),
    ],
)
def test_what_cannot_be_carried_out_is_refused_whole(resource: Resource, asked: Resource) -> None:
    first = operation("add", "%resource", name="language", valueCode="fr")
    with pytest.raises(Processing) as caught:
        patch(resource, first, asked)
    assert caught.value.issues[0].expression in (("Parameters.parameter[1]",), ("id",))
    assert caught.value.status == 422


def test_version_and_time_stay_the_servers() -> None:
    resource = patient(meta={"versionId": "3", "lastUpdated": "2024-01-01T00:00:00Z", "source": "urn:a"})
    outcome = patch(
        resource,
        operation("replace", "Patient.meta.versionId", valueId="9"),
        operation("delete", "Patient.meta.source"),
    )
    assert outcome == patient(meta={"versionId": "3", "lastUpdated": "2024-01-01T00:00:00Z"})


def test_every_fault_of_the_parameters_is_named_at_once() -> None:
    delete = operation("delete", "Patient.name")["part"]
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "other"},
            operation("launch", "Patient"),
            operation("add", "Patient"),
            operation("move", "Patient.name", source=0),
            {"name": "operation", "part": delete[:1]},
            {"name": "operation", "part": [*delete, {"name": "colour", "valueCode": "x"}]},
            {"name": "operation", "part": delete * 2},
            operation("replace", "Patient.name", value={}),
            operation("replace", "Patient.name", value={"valueString": "a", "valueCode": "b"}),
            {"name": "operation", "part": [delete[0], {"name": "path", "valueInteger": 3}]},
            operation("move", "Patient.name", source=True, destination=1),
            {"name": "operation", "part": "x"},
            {"name": "operation", "part": [{"valueCode": "delete"}]},
            "operation",
            operation("delete", "Patient.name"),
        ],
    }
    with pytest.raises(Invalid) as caught:
        apply_fhirpath_patch(patient(), parameters)
    places = [issue.expression[0].split("[")[1].split("]")[0] for issue in caught.value.issues]
    assert sorted({int(place) for place in places}) == list(range(14))
    assert caught.value.status == 400


@pytest.mark.parametrize("parameters", [patient(), {"resourceType": "Parameters", "parameter": {}}])
def test_what_is_no_parameters_resource_is_refused(parameters: Resource) -> None:
    with pytest.raises(Invalid):
        apply_fhirpath_patch(patient(), parameters)


def test_a_path_that_is_no_fhirpath_is_refused_with_its_place() -> None:
    with pytest.raises(Invalid) as caught:
        patch(patient(), operation("delete", "Patient..name"))
    assert caught.value.issues[0].expression == ("Parameters.parameter[0]",)


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(TooCostly):
        patch(patient(), *[operation("delete", "Patient.name")] * 1_001)


def test_other_resources_are_out_of_reach() -> None:
    resource = patient(managingOrganization={"reference": "Organization/1"})
    deleted = operation("delete", "Patient.managingOrganization.resolve().name")
    assert patch(resource, deleted) == resource
