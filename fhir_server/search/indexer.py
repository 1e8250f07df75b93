"""The index fields of one resource: what it can be found by, extracted by the search parameters' FHIRPath.

Per resource type a plan is made once: which members of which parameters' expressions begin at which JSON property, so
that a resource costs only what it has. The fields are listed in the package's docstring.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_server.errors import FhirError, Issue, Processing, Text
from fhir_server.fhir.definitions import compartment_definitions, structure
from fhir_server.fhir.fhirpath.expression import compile_expression
from fhir_server.fhir.reference import local_targets
from fhir_server.search import combined
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.expressions import cast_of, first_step, steps_of
from fhir_server.search.param_types import composite, date, near, number, quantity, reference, string, text, token, uri
from fhir_server.search.param_types.date import LONG
from fhir_server.search.param_types.presence import entries_field, present_key
from fhir_server.search.parameters import SearchParameter, indexed_parameters
from fhir_server.search.stored import stored_parameters_of

Values = Callable[[dict[str, Any]], Iterable[tuple[Any, str, Any]]]

_COMPARTMENTS = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")


@dataclass(frozen=True, slots=True)
class Step:
    """One member of one parameter's expression, and what becomes of its values."""

    parameter: SearchParameter
    values: Values
    extract: Extract
    present: str
    """The token left where the values leave no entry in ``field``; empty for none."""
    field: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to extract from a type: by the JSON property that it begins at, or always."""

    by_property: Mapping[str, tuple[Step, ...]]
    always: tuple[Step, ...]
    patient: tuple[str, ...]
    """The code of the parameter that ``pt`` is taken from, if the type has such a one."""
    compartments: tuple[tuple[str, tuple[str, ...]], ...]


def to_index(resource: dict[str, Any], base_url: str = "") -> dict[str, Any]:
    """Return the index fields of a resource that carries its id and meta; absent fields have nothing in them.

    References under ``base_url`` (without a slash at its end) count as local.
    Raises ``Processing`` naming every parameter whose values cannot be extracted: unindexed, it would be lost.
    """
    resource_type = resource["resourceType"]
    plan = _plan(resource_type, base_url, stored_parameters_of(resource_type))
    entries = Entries()
    entries.t[resource_type] = None
    entries.resource = resource
    failures: list[Issue] = []
    by_property = plan.by_property
    for name in resource:
        for step in by_property.get(name, ()):
            _run(step, resource, entries, failures)
    for step in plan.always:
        _run(step, resource, entries, failures)
    if failures:
        raise Processing(failures)
    return _to_fields(resource, plan, entries, base_url or None)


def _run(step: Step, resource: dict[str, Any], entries: Entries, failures: list[Issue]) -> None:
    try:
        held = getattr(entries, step.field)
        before, extract, found = len(held) if held else 0, step.extract, False
        for value, kind, _ in step.values(resource):
            if value is not None:
                extract(value, kind, entries)
                found = True
        if found and step.present:
            held = getattr(entries, step.field)
            if not held or len(held) == before:
                entries.t[step.present] = None
    except (FhirError, ValueError, TypeError, AttributeError, KeyError) as error:
        failures.append(_failure(step.parameter, error))


def _failure(parameter: SearchParameter, error: Exception) -> Issue:
    code = parameter.code
    text = Text(
        f"The search parameter {code} cannot be indexed: a value does not have the form of its type.",
        f"Le paramètre de recherche {code} ne peut être indexé : une valeur n’a pas la forme de son type.",
    )
    where = ".".join(steps_of(parameter.parts[0])) or parameter.resource_type
    return Issue("processing", text, "error", (where,), diagnostics=type(error).__name__)


def _to_fields(resource: Mapping[str, Any], plan: Plan, entries: Entries, base_url: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    resource_type = resource["resourceType"]
    own = f"{resource_type}/{resource['id']}" if "id" in resource else None
    if entries.primary is not None:
        fields["ds"], fields["de"] = entries.primary
        if entries.primary[1] - entries.primary[0] > LONG:
            entries.t[f"{resource_type}:long"] = None
    compartments = _compartments(own, resource_type, plan, entries)
    patient = _patient(own, resource_type, plan, entries, compartments)
    combined.add_entries(resource_type, patient, entries)
    words, texts = text.to_fields(resource)
    parts = string.fragments(resource_type, entries.contained)
    found_texts = {**entries.v, **dict.fromkeys(texts)}
    keys = (("t", entries.t), ("r", entries.r), ("s", entries.s), ("e", entries.e), ("w", words), ("f", parts))
    fields |= {name: list(found) for name, found in (*keys, ("v", found_texts)) if found}
    if entries.d:
        fields["d"] = [{"p": key, "s": start, "e": end} for key, start, end in entries.d]
    if entries.n:
        fields["n"] = [{"p": key, "lo": low, "hi": high} for key, low, high in entries.n]
    if entries.q:
        fields["q"] = [_quantity(entry) for entry in entries.q]
    if entries.g:
        fields["g"] = entries.g
    if entries.near is not None:
        fields["nx"], fields["ny"], fields["nz"] = entries.near
    if compartments:
        fields["c"] = compartments
    if patient is not None:
        fields["pt"] = patient
    labels = _labels(resource)
    if labels:
        fields["l"] = labels
    references = local_targets(resource, base_url)
    if references:
        fields["x"] = references
    return fields


def _quantity(entry: tuple[str, str, str, str | None, str | None, str | None]) -> dict[str, str]:
    key, low, high, system, code, unit = entry
    fields = {"p": key, "lo": low, "hi": high}
    if system is not None:
        fields["u"] = system
    if code is not None:
        fields["c"] = code
    if unit is not None:
        fields["n"] = unit
    return fields


def _compartments(own: str | None, resource_type: str, plan: Plan, entries: Entries) -> list[str]:
    found: dict[str, None] = {}
    if own is not None and resource_type in _COMPARTMENTS:
        found[own] = None
    for compartment, codes in plan.compartments:
        start = f"{compartment}/"
        for code in codes:
            for target in entries.references.get(code, ()):
                if target.startswith(start):
                    found[target] = None
    return list(found)


def _patient(
    own: str | None, resource_type: str, plan: Plan, entries: Entries, compartments: Sequence[str]
) -> str | None:
    """Return the patient: of ``patient`` where that has one value by definition, else of the only compartment."""
    if resource_type == "Patient":
        return own
    if plan.patient:
        targets = entries.references.get(plan.patient[0], ())
        return next((target for target in targets if target.startswith("Patient/")), None)
    patients = [one for one in compartments if one.startswith("Patient/")]
    return patients[0] if len(patients) == 1 else None


def _labels(resource: Mapping[str, Any]) -> list[str]:
    """Return the security labels as ``system|code``; a DocumentReference has its document's own as well."""
    codings = list(resource.get("meta", {}).get("security", ()))
    if resource["resourceType"] == "DocumentReference":
        codings += [coding for label in resource.get("securityLabel", ()) for coding in label.get("coding", ())]
    labels = (f"{coding.get('system', '')}|{coding['code']}" for coding in codings if coding.get("code"))
    return list(dict.fromkeys(labels))


@lru_cache(maxsize=1_024)
def _plan(resource_type: str, base_url: str, stored: tuple[SearchParameter, ...]) -> Plan:
    """``stored`` are those parameters of the type that may change while the server runs; the others never do."""
    by_property: dict[str, list[Step]] = {}
    always: list[Step] = []
    parameters = indexed_parameters(resource_type)
    for parameter in parameters:
        for part in () if parameter.in_document else parameter.parts:
            step = _step(parameter, part, base_url)
            if parameter.type == "composite" and composite.is_shared(parameter, part):
                continue
            names = _begins_at(parameter, part)
            if names is None:
                always.append(step)
            for name in names or ():
                by_property.setdefault(name, []).append(step)
    return Plan(
        by_property={name: tuple(steps) for name, steps in by_property.items()},
        always=tuple(always),
        patient=tuple(one.code for one in parameters if one.patient and one.code == "patient"),
        compartments=tuple(
            (compartment, links[resource_type])
            for compartment, links in compartment_definitions().items()
            if resource_type in links
        ),
    )


def _step(parameter: SearchParameter, part: str, base_url: str) -> Step:
    if parameter.type == "composite":
        elements = _elements(parameter.resource_type, part)
        return Step(parameter, elements, composite.build_extractor(parameter, part, base_url), "", "g")
    values: Values = compile_expression(part, root_type=parameter.resource_type).values
    if ".extension(" in part:
        values = _unwrapped(values)
    extract = _extractor(parameter, base_url)
    return Step(parameter, values, extract, present_key(parameter), entries_field(parameter))


def _elements(resource_type: str, part: str) -> Values:
    """Return what gives the elements of a composite; for several it is the resource itself."""
    if part != resource_type:
        return compile_expression(part, root_type=resource_type).values
    return lambda resource: ((resource, resource_type, None),)


def _unwrapped(values: Values) -> Values:
    """Some definitions stop at the extension and mean its value."""

    def inner(resource: dict[str, Any]) -> Iterable[tuple[Any, str, Any]]:
        for value, kind, extras in values(resource):
            if kind != "Extension":
                yield value, kind, extras
                continue
            for name, (_, code) in structure("Extension").properties.items():
                if name.startswith("value") and name in value:
                    yield value[name], code, None

    return inner


def _extractor(parameter: SearchParameter, base_url: str) -> Extract:
    match parameter.type:
        case "token":
            return token.build_extractor(parameter)
        case "reference":
            return reference.build_extractor(parameter, base_url)
        case "string":
            return string.build_extractor(parameter)
        case "date":
            return date.build_extractor(parameter)
        case "number":
            return number.build_extractor(parameter)
        case "quantity":
            return quantity.build_extractor(parameter)
        case "uri":
            return uri.build_extractor(parameter)
        case "special" if parameter.code == "near":
            return near.build_extractor(parameter)
        case _:
            raise AssertionError(parameter.type)


def _begins_at(parameter: SearchParameter, part: str) -> tuple[str, ...] | None:
    if parameter.type == "composite" and part == parameter.resource_type:
        return composite.properties(part, parameter)
    return _properties(parameter.resource_type, part)


def _properties(resource_type: str, part: str) -> tuple[str, ...] | None:
    """Return the JSON properties at which the expression begins (``valueQuantity``), None if it may begin anywhere."""
    first = first_step(part)
    if first is None:
        return None
    cast = cast_of(part) if len(steps_of(part)) == 2 else None
    return tuple(
        name
        for name, (element, code) in structure(resource_type).properties.items()
        if element.name == first and (cast is None or code == cast)
    )
