"""A minimal resource for each search parameter: a value along the path of its expression, out of the definitions.

``build(parameter, part, number)`` gives a resource that has one value where the part leads, and the query value that
finds it; another ``number`` gives another value, ``kind`` a value of that type where the element has a choice, and
``target`` a reference to that type of resource.
"""

import re
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.definitions import Element, artifact, is_primitive, structure
from fhir_server.fhir.ucum import SYSTEM as UCUM
from fhir_server.search.expressions import split_union
from fhir_server.search.parameters import Component, SearchParameter

_STEP = re.compile(
    r"\.?(?:(?:as|ofType)\((?P<cast>[A-Za-z]+)\)"
    r"|where\(resolve\(\) is (?P<target>[A-Za-z]+)\)"
    r"|where\((?P<name>[a-z]+)\s*=\s*'(?P<equals>[^']*)'\)"
    r"|where\(hasExtension\('(?P<has>[^']*)'\)\)"
    r"|extension\('(?P<extension>[^']*)'\)"
    r"|(?P<step>[A-Za-z]+)(?:\[0\])?)"
)
_READABLE = {
    "token": ("CodeableConcept", "Coding", "code", "Identifier", "ContactPoint", "boolean", "id", "string", "uri"),
    "reference": ("Reference", "canonical", "uri", "url", "Resource"),
    "string": ("string", "HumanName", "Address", "markdown", "ContactPoint", "Annotation", "CodeableConcept"),
    "date": ("dateTime", "date", "Period", "instant", "Timing"),
    "quantity": ("Quantity", "Range", "Money", "Age", "Duration", "SampledData", "decimal", "integer"),
    "number": ("decimal", "integer", "positiveInt", "unsignedInt", "Range"),
    "uri": ("uri", "canonical", "url", "oid", "uuid"),
    "special": ("Location.position",),
}
"""The types that a parameter type reads, the usual one first; numbers' subtypes are as their base."""
_EXTENSIONS = {"token": "CodeableConcept", "string": "string", "reference": "Reference"}


CODES = "http://example.org/codes"
"""The code system and naming system of all generated values that may say one."""
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"


@dataclass(frozen=True)
class Built:
    """A resource, and what its parameter is asked for to find it."""

    resource: dict[str, Any]
    asked: str
    kind: str = ""
    """The FHIR type of the value; empty for a composite."""


@dataclass(frozen=True)
class _Wanted:
    parameter: SearchParameter
    number: int
    kind: str = ""
    target: str = ""


def kinds(parameter: SearchParameter, part: str) -> list[str]:
    """Return the types of value that ``build`` can put where the part leads, "" for the only one."""
    usable = [kind for kind in _READABLE.get(parameter.type, ()) if build(parameter, part, 1, kind).kind == kind]
    return usable or [""]


def build(parameter: SearchParameter, part: str, number: int, kind: str = "", target: str = "") -> Built:
    """Return the resource; raises ``ValueError`` for an expression that this module does not understand."""
    resource: dict[str, Any] = {"resourceType": parameter.resource_type}
    if "exists() and" in part:
        return Built({**resource, "deceasedBoolean": number == 1}, "true")
    steps = _steps(part)
    if steps and steps[0].get("step") in (parameter.resource_type, "Resource", "DomainResource"):
        steps = steps[1:]
    if parameter.type == "composite":
        return _composite(parameter, resource, steps, number)
    wanted = _Wanted(parameter, number, kind, target)
    return Built(resource, *_place(resource, parameter.resource_type, steps, wanted))


def codes_of(system: str) -> list[str]:
    """Return some codes of one of R4's code systems, made up ones of a system that is not among them."""
    concepts = (artifact("CodeSystem", system) or {}).get("concept", [])
    return [one["code"] for one in concepts] if len(concepts) > 1 else ["alpha1", "alpha2"]


def _composite(parameter: SearchParameter, resource: dict[str, Any], steps: list[dict[str, str]], number: int) -> Built:
    holder, kind = resource, parameter.resource_type
    for step in steps:
        element = _element(kind, step["step"])
        kind = element.types[0]
        inner: dict[str, Any] = {}
        holder[element.name] = inner if element.max == 1 else [inner]
        holder = inner
    asked = []
    for component in parameter.components:
        own = _own(parameter, component)
        if component.expression.startswith("%resource."):
            path, on, where = _steps(component.expression.removeprefix("%resource.")), resource, parameter.resource_type
        else:
            path, on, where = _steps(split_union(component.expression)[0]), holder, kind
        asked.append(_place(on, where, path, _Wanted(own, number))[0])
    return Built(resource, "$".join(asked))


def _own(parameter: SearchParameter, component: Component) -> SearchParameter:
    return SearchParameter(
        parameter.resource_type, component.code, component.type, component.url, (), ("Patient",), None
    )


def _steps(part: str) -> list[dict[str, str]]:
    text = part.strip()
    match = re.fullmatch(r"\((.*?)(?:\s+as\s+([A-Za-z]+))?\)(.*)", text)
    if match:
        text = f"{match[1]}{f'.as({match[2]})' if match[2] else ''}{match[3]}"
    match = re.fullmatch(r"(.*?)\s+as\s+([A-Za-z]+)", text)
    if match:
        text = f"{match[1]}.as({match[2]})"
    found, at = [], 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or step.end() == at:
            raise ValueError(f"not understood: {part}")
        found.append({name: value for name, value in step.groupdict().items() if value is not None})
        at = step.end()
    return found


def _element(kind: str, name: str) -> Element:
    return next(one for one in structure(kind).elements if one.name == name)


def _place(holder: dict[str, Any], kind: str, steps: list[dict[str, str]], wanted: _Wanted) -> tuple[str, str]:
    """Put a value where the steps lead from the holder, of a type; return what to ask for, and the value's type."""
    parameter, number = wanted.parameter, wanted.number
    value: Any
    if "extension" in steps[0]:
        code = (
            steps[1]["cast"] if len(steps) > 2 else wanted.kind.replace("Resource", "") or _EXTENSIONS[parameter.type]
        )
        value = _value(code, number, parameter, wanted.target or "Patient")
        holder["extension"] = [{"url": steps[0]["extension"], f"value{code[0].upper()}{code[1:]}": value}]
        return _asked(parameter, code, value), code
    name, rest = steps[0]["step"], steps[1:]
    element = _element(kind, name)
    target, cast = wanted.target or (*parameter.targets, "Patient")[0], None
    also: dict[str, Any] = {}
    while rest and "step" not in rest[0]:
        first, rest = rest[0], rest[1:]
        target, cast = first.get("target", target), first.get("cast", cast)
        if "equals" in first:
            also[first["name"]] = first["equals"]
        if "has" in first:
            also["extension"] = [{"url": first["has"], "valueBoolean": True}]
    code = _choose(element, cast, wanted, bool(rest))
    if rest:
        value = holder.get(name, {})
        value = dict(value[0] if isinstance(value, list) else value) | also
        placed = _place(value, code, rest, wanted)
    else:
        value = _value(code, number, parameter, target)
        placed = _asked(parameter, code, value), code
        if isinstance(value, dict):
            value = {**value, **also}
    shown = f"{name}{code[0].upper()}{code[1:]}" if element.choice else name
    holder[shown] = value if element.max == 1 else [value]
    return placed


def _choose(element: Element, cast: str | None, wanted: _Wanted, goes_on: bool) -> str:
    if cast is not None:
        return next((one for one in element.types if one.lower() == cast.lower()), cast)
    if goes_on:
        return element.types[0]
    if wanted.kind in element.types:
        return wanted.kind
    return next((one for one in _READABLE[wanted.parameter.type] if one in element.types), element.types[0])


def _value(code: str, number: int, parameter: SearchParameter, target: str = "Patient") -> Any:
    coding = {"system": CODES, "code": f"alpha{number}", "display": f"gamma{number}"}
    quantity = {"value": 10 * number, "unit": "mg", "system": UCUM, "code": "mg"}
    match code:
        case "boolean":
            return number == 1
        case "date":
            return f"{1990 + 10 * number}-01-01"
        case "dateTime" | "instant":
            return f"{1990 + 10 * number}-01-01T10:00:00Z"
        case "integer" | "positiveInt" | "unsignedInt" | "decimal":
            return 10 * number
        case "canonical" if parameter.type == "reference":
            return f"http://example.org/{target}/{number}/x|1.4.2"
        case "uri" | "url" | "oid" | "uuid" | "canonical":
            return f"http://example.org/{target}/{number}/x"
        case "Coding":
            return coding
        case "CodeableConcept":
            return {"coding": [coding], "text": f"gamma{number}"}
        case "Identifier":
            kind = {"coding": [{"system": IDENTIFIER_TYPES, "code": "MR"}], "text": f"gamma{number}"}
            return {"type": kind, "system": CODES, "value": f"alpha{number}"}
        case "ContactPoint":
            return {"system": "phone", "value": f"alpha{number}"}
        case "HumanName":
            return {"family": f"alpha{number}"}
        case "Address":
            return {"city": f"alpha{number}"}
        case "Annotation":
            return {"text": f"alpha{number}"}
        case "Reference":
            return {"reference": f"{target}/{number}", "identifier": {"system": CODES, "value": f"alpha{number}"}}
        case "Resource":
            return {"resourceType": target, "id": str(number)}
        case "Range":
            return {"low": quantity, "high": quantity}
        case "Money":
            return {"value": 10 * number, "currency": "EUR"}
        case "SampledData":
            return {
                "origin": {**quantity, "value": 0},
                "period": 1,
                "dimensions": 1,
                "data": f"{10 * number} {10 * number}",
            }
        case "Period":
            return {"start": f"{1990 + 10 * number}-01-01", "end": f"{1990 + 10 * number}-01-01"}
        case "Timing":
            return {"event": [f"{1990 + 10 * number}-01-01T10:00:00Z"]}
        case "Location.position":
            return {"latitude": 10 * number, "longitude": 10}
        case "Quantity" | "Age" | "Duration" | "Distance" | "Count":
            return quantity
        case "code" if parameter.system:
            return codes_of(parameter.system)[number - 1]
        case _ if is_primitive(code):
            return f"alpha{number}"
    raise ValueError(f"no value of {code} for {parameter.key}")


def _asked(parameter: SearchParameter, code: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, dict):
        return str(value)[:10] if parameter.type == "date" else str(value)
    match code:
        case "Coding":
            return f"{value['system']}|{value['code']}"
        case "CodeableConcept" if parameter.type == "token":
            return f"{value['coding'][0]['system']}|{value['coding'][0]['code']}"
        case "Identifier":
            return f"{value['system']}|{value['value']}"
        case "Reference":
            return str(value["reference"])
        case "Resource":
            return f"{value['resourceType']}/{value['id']}"
        case "Period":
            return str(value["start"])
        case "Timing":
            return str(value["event"][0][:10])
        case "Money":
            return f"{value['value']}|urn:iso:std:iso:4217|EUR"
        case "Range":
            return (
                f"{value['low']['value'] / 1000}|{UCUM}|g"
                if parameter.type == "quantity"
                else str(value["low"]["value"])
            )
        case "SampledData":
            return f"{value['data'].partition(' ')[0]}|{UCUM}|mg"
        case "Location.position":
            return f"{value['latitude']}|{value['longitude']}|1|km"
        case "Quantity" | "Age" | "Duration" | "Distance" | "Count":
            return f"{value['value']}|{UCUM}|mg"
    return str(next(one for name, one in value.items() if name in ("family", "city", "text", "value")))
