"""``%name``: what FHIR defines, what the caller gives.

Spec: http://hl7.org/fhirpath/N1/#environment-variables, http://hl7.org/fhir/R4/fhirpath.html#vars
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.nodes import Node, root_node
from fhir_server.fhir.fhirpath.system import UCUM, system_node

_CONSTANTS: Mapping[str, str] = {
    "ucum": UCUM,
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_PREFIXES: Mapping[str, str] = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}


def compile_variable(name: str) -> Evaluate:
    """Return the closure of ``%name``; an unknown name is an error of the evaluation, as N1 says."""
    constant = _CONSTANTS.get(name)
    for prefix, base in _PREFIXES.items():
        if name.startswith(prefix):
            constant = base + name.removeprefix(prefix)
    default = None if constant is None else [system_node(constant)]

    def variable(context: Context) -> Collection:
        if name in context.variables:
            return to_collection(context.variables[name])
        if default is not None:
            return default
        return _of_context(context, name)

    return variable


def to_collection(value: Any) -> Collection:
    """Return a caller's value as a collection: a Node, a resource, a System value, None, or a list of these."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [node for item in value for node in to_collection(item)]
    if isinstance(value, Node):
        return [value]
    return [root_node(value)] if isinstance(value, dict) else [system_node(value)]


def _of_context(context: Context, name: str) -> Collection:
    if name == "context":
        return [context.root]
    if name not in ("resource", "rootResource"):
        raise context.fault(f"the variable %{name} is not defined", f"la variable %{name} n’est pas définie")
    found = context.resource() if name == "resource" else context.root_resource()
    return [] if found is None else [found]
