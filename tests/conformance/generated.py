"""A minimal resource for each search parameter: a value along the path of its expression, out of the definitions.

``build(parameter, part, number)`` gives a resource that has one value where the part leads, and the query value that
finds it; another ``number`` gives another value.
"""

import re
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.definitions import Element, is_primitive, structure
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


@dataclass(frozen=True)
class Built:
    """A resource, and what its parameter is asked for to find it."""

    resource: dict[str, Any]
    asked: str


def build(parameter: SearchParameter, part: str, number: int, cast: str | None = None) -> Built:
    """Return the resource; raises ``ValueError`` for an expression that this module does not understand."""
    resource: dict[str, Any] = {"resourceType": parameter.resource_type}
    if "exists() and" in part:
        return Built({**resource, "deceasedBoolean": number == 1}, "true")
    steps = _steps(part)
    if steps and steps[0].get("step") in (parameter.resource_type, "Resource", "DomainResource"):
        steps = steps[1:]
    if parameter.type == "composite":
        return _composite(parameter, resource, steps, number)
    asked = _place(resource, parameter.resource_type, steps, parameter, number)
    return Built(resource, asked)


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
        asked.append(_place(on, where, path, own, number))
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


def _place(
    holder: dict[str, Any], kind: str, steps: list[dict[str, str]], parameter: SearchParameter, number: int
) -> str:
    """Put a value where the steps lead from the holder, of a type; return what to ask for."""
    if "extension" in steps[0]:
        code = steps[1]["cast"] if len(steps) > 2 else _EXTENSIONS[parameter.type]
        value = _value(code, number, parameter)
        holder["extension"] = [{"url": steps[0]["extension"], f"value{code[0].upper()}{code[1:]}": value}]
        return _asked(parameter, code, value)
    name, rest = steps[0]["step"], steps[1:]
    element = _element(kind, name)
    target, cast, also = parameter.targets[0] if parameter.targets else "Patient", None, {}
    while rest and "step" not in rest[0]:
        first, rest = rest[0], rest[1:]
        target, cast = first.get("target", target), first.get("cast", cast)
        if "equals" in first:
            also[first["name"]] = first["equals"]
        if "has" in first:
            also["extension"] = [{"url": first["has"], "valueBoolean": True}]
    code = _choose(element, cast, parameter, bool(rest))
    if rest:
        value: Any = holder.get(name, {})
        value = dict(value[0] if isinstance(value, list) else value) | also
        asked = _place(value, code, rest, parameter, number)
    else:
        value = _value(code, number, parameter, target)
        asked = _asked(parameter, code, value)
        if isinstance(value, dict):
            value = {**value, **also}
    shown = f"{name}{code[0].upper()}{code[1:]}" if element.choice else name
    holder[shown] = value if element.max == 1 else [value]
    return asked


def _choose(element: Element, cast: str | None, parameter: SearchParameter, goes_on: bool) -> str:
    if cast is not None:
        return next((one for one in element.types if one.lower() == cast.lower()), cast)
    if goes_on:
        return element.types[0]
    return next((one for one in _READABLE[parameter.type] if one in element.types), element.types[0])


def _value(code: str, number: int, parameter: SearchParameter, target: str = "Patient") -> Any:
    coding = {"system": "http://example.org/codes", "code": f"alpha{number}"}
    quantity = {"value": 10 * number, "unit": "mg", "system": UCUM, "code": "mg"}
    match code:
        case "boolean":
            return number == 1
        case "date":
            return f"20{10 + number}-01-01"
        case "dateTime" | "instant":
            return f"20{10 + number}-01-01T10:00:00Z"
        case "integer" | "positiveInt" | "unsignedInt" | "decimal":
            return 10 * number
        case "uri" | "url" | "canonical" | "oid" | "uuid":
            return f"http://example.org/{number}"
        case "Coding":
            return coding
        case "CodeableConcept":
            return {"coding": [coding]}
        case "Identifier":
            return {"system": "http://example.org/codes", "value": f"alpha{number}"}
        case "ContactPoint":
            return {"system": "phone", "value": f"alpha{number}"}
        case "HumanName":
            return {"family": f"alpha{number}"}
        case "Address":
            return {"city": f"alpha{number}"}
        case "Annotation":
            return {"text": f"alpha{number}"}
        case "Reference":
            return {"reference": f"{target}/{number}"}
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
            return {"start": f"20{10 + number}-01-01", "end": f"20{10 + number}-01-01"}
        case "Timing":
            return {"event": [f"20{10 + number}-01-01T10:00:00Z"]}
        case "Location.position":
            return {"latitude": 10 * number, "longitude": 10}
        case "Quantity" | "Age" | "Duration" | "Distance" | "Count":
            return quantity
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
