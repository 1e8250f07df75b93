"""The parameters of an operation: a Parameters resource or a query, read the same way.

Spec: http://hl7.org/fhir/R4/operations.html#request
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server.errors import Invalid, Issue, Required, Text
from fhir_server.interactions.request import FhirRequest


def parse_parameters(request: FhirRequest, known: Sequence[str]) -> dict[str, Any]:
    """Return the values by name, each given once; a part that is a resource or has parts comes as it is.

    Raises ``Invalid`` naming every parameter that the operation does not know or that comes twice.
    """
    pairs: list[tuple[str, Any]] = list(request.parameters)
    resource = request.resource
    if resource is not None:
        if resource.get("resourceType") != "Parameters":
            text = Text("An operation takes a Parameters resource", "Une opération prend une ressource Parameters")
            raise Invalid(text, expression="resourceType")
        pairs += [(str(one.get("name")), _value(one)) for one in resource.get("parameter", ())]
    names = [name for name, _ in pairs]
    problems = [_unknown(name, known) for name in dict.fromkeys(names) if name not in known]
    problems += [_repeated(name) for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise Invalid(problems)
    return dict(pairs)


def require(values: Mapping[str, Any], *names: str) -> None:
    """Raise ``Required`` naming every parameter that is missing or empty."""
    missing = [name for name in names if values.get(name) is None or not str(values[name]).strip()]
    if missing:
        raise Required([
            Issue("required", Text(f"{name} is missing", f"{name} manque"), expression=(f"Parameters.{name}",))
            for name in missing
        ])  # fmt: skip


def text_of(values: Mapping[str, Any], name: str) -> str:
    """Return a primitive as text, empty when it is not given. Raises ``Invalid`` for anything else."""
    value = values.get(name, "")
    if not isinstance(value, str):
        raise Invalid(Text(f"{name} is a text", f"{name} est un texte"), expression=f"Parameters.{name}")
    return value.strip()


def build_parameters(**values: Any) -> dict[str, Any]:
    """Return a Parameters resource; the names of the arguments are ``name_valueType`` (``mode_valueCode``)."""
    parts = []
    for key, value in values.items():
        name, _, kind = key.rpartition("_")
        if value is not None:
            parts.append({"name": name.replace("_", "-"), kind: value})
    return {"resourceType": "Parameters", "parameter": parts}


def _value(part: Mapping[str, Any]) -> Any:
    for key, value in part.items():
        if key.startswith("value"):
            return value
    return part.get("resource", part.get("part"))


def _unknown(name: str, known: Sequence[str]) -> Issue:
    listed = ", ".join(known)
    text = Text(
        f"This operation has no such parameter; it takes {listed}",
        f"Cette opération n’a pas ce paramètre ; elle prend {listed}",
    )
    return Issue("invalid", text, expression=(f"Parameters.{name[:64]}",))


def _repeated(name: str) -> Issue:
    text = Text(f"{name} may be given once only", f"{name} ne peut être donné qu’une fois")
    return Issue("invalid", text, expression=(f"Parameters.{name}",))
