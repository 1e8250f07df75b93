"""The parameters of an operation: what it takes and gives, and a Parameters resource or a query read by that.

Spec: http://hl7.org/fhir/R4/operations.html#request, http://hl7.org/fhir/R4/operationdefinition.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.errors import Invalid, Issue, Text
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.definitions import is_primitive
from fhir_server.interactions.request import FhirRequest


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as its OperationDefinition has it; ``part`` holds those that it is made of, and it has no type."""

    name: str
    type: str | None
    documentation: Text
    min: int = 0
    max: str = "1"
    search_type: str | None = None
    part: tuple["Parameter", ...] = ()


WHICH_PATIENT = (
    Parameter("patient", "Reference", Text("The patient, or give identifier", "Le patient, à défaut identifier")),
    Parameter("identifier", "Identifier", Text("An identity of the patient", "Une identité du patient")),
)
"""What tells the patient that an operation is about."""


@dataclass(frozen=True, slots=True)
class _Given:
    """One parameter of a request; ``key`` is ``valueCode`` and the like, None in a query, where all is text."""

    name: str
    value: Any
    key: str | None = None


def parse_parameters(request: FhirRequest, takes: Sequence[Parameter]) -> dict[str, Any]:
    """Return the values by name: primitives, references and identifiers (``system|value``) as text, others as they are.

    Raises ``Invalid`` naming every parameter that the operation does not take, that comes once too often, that has
    another type, or that is missing.
    """
    return dict(parse_pairs(request, takes))


def parse_pairs(request: FhirRequest, takes: Sequence[Parameter]) -> list[tuple[str, Any]]:
    """Return what ``parse_parameters`` does, in order, with the values of what may repeat. Raises ``Invalid``."""
    given = list(_given(request))
    known = {one.name: one for one in takes}
    values = [(one.name, _value(one, known[one.name])) for one in given if one.name in known]
    problems = [_unknown(one.name, takes) for one in given if one.name not in known]
    problems += [_mistyped(known[name]) for name, value in values if value is None]
    for each in takes:
        found = [value for name, value in values if name == each.name]
        if each.min and not any(value is None or str(value).strip() for value in found):
            problems.append(_missing(each.name))
        if each.max == "1" and len(found) > 1:
            problems.append(_repeated(each.name))
    if problems:
        raise Invalid(dict.fromkeys(problems))
    return values


def read_texts(request: FhirRequest) -> tuple[tuple[str, str], ...]:
    """Return the names and values of a request that asks as a search does. Raises ``Invalid`` for other values."""
    texts = [(one.name, _text(one.value)) for one in _given(request)]
    problems = [_no_text(name) for name, text in texts if text is None]
    if problems:
        raise Invalid(problems)
    return tuple((name, text) for name, text in texts if text is not None)


def text_of(values: Mapping[str, Any], name: str) -> str:
    """Return a parameter that ``parse_parameters`` gives as text, empty when it is not given."""
    return str(values.get(name, "")).strip()


def build_parameters(**values: Any) -> dict[str, Any]:
    """Return a Parameters resource; the names of the arguments are ``name_valueType`` (``mode_valueCode``)."""
    parts = []
    for key, value in values.items():
        name, _, kind = key.rpartition("_")
        if value is not None:
            parts.append({"name": name.replace("_", "-"), kind: value})
    return {"resourceType": "Parameters", "parameter": parts}


def _given(request: FhirRequest) -> Iterator[_Given]:
    yield from (_Given(name, value) for name, value in request.parameters)
    resource = request.resource
    if resource is None:
        return
    if resource.get("resourceType") != "Parameters":
        text = Text("An operation takes a Parameters resource", "Une opération prend une ressource Parameters")
        raise Invalid(text, expression="resourceType")
    for part in resource.get("parameter", ()):
        key = next((one for one in part if one.startswith("value")), "resource" if "resource" in part else "part")
        yield _Given(str(part.get("name")), part.get(key), key)


def _value(given: _Given, parameter: Parameter) -> Any:
    """Return the value as the handler gets it; None if it is not of the parameter's type."""
    if not isinstance(given.value, Mapping):
        if parameter.type in ("Reference", "Identifier"):
            return given.value if isinstance(given.value, str) else None
        return _text(given.value) if is_primitive(str(parameter.type)) else None
    if given.key != f"value{parameter.type}":
        return None
    match parameter.type:
        case "Reference":
            return given.value.get("reference")
        case "Identifier":
            return f"{given.value.get('system', '')}|{given.value.get('value', '')}"
        case _:
            return given.value


def _text(value: Any) -> str | None:
    """Return a primitive as it stands in a query; None for anything else."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | FhirDecimal():
            return str(value)
        case _:
            return None


def _unknown(name: str, takes: Sequence[Parameter]) -> Issue:
    listed = ", ".join(one.name for one in takes)
    text = (
        Text(
            f"This operation has no such parameter; it takes {listed}",
            f"Cette opération n’a pas ce paramètre ; elle prend {listed}",
        )
        if listed
        else Text("This operation takes no parameters", "Cette opération ne prend pas de paramètre")
    )
    return Issue("invalid", text, expression=(f"Parameters.{name[:64]}",))


def _mistyped(parameter: Parameter) -> Issue:
    text = Text(f"{parameter.name} is a {parameter.type}", f"{parameter.name} est de type {parameter.type}")
    return Issue("value", text, expression=(f"Parameters.{parameter.name}",))


def _no_text(name: str) -> Issue:
    text = Text("A search takes primitive values alone", "Une recherche ne prend que des valeurs primitives")
    return Issue("value", text, expression=(f"Parameters.{name[:64]}",))


def _missing(name: str) -> Issue:
    return Issue("required", Text(f"{name} is missing", f"{name} manque"), expression=(f"Parameters.{name}",))


def _repeated(name: str) -> Issue:
    text = Text(f"{name} may be given once only", f"{name} ne peut être donné qu’une fois")
    return Issue("invalid", text, expression=(f"Parameters.{name}",))
