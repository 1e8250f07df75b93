"""OperationDefinitions of the operations that are this server's own, written from what their code declares.

Texts are in English, with the French in the extension that FHIR has for translations.
Spec: http://hl7.org/fhir/R4/operationdefinition.html, http://hl7.org/fhir/R4/extension-translation.html
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from fhir_server import SOFTWARE_DATE, SOFTWARE_VERSION
from fhir_server.errors import Text
from fhir_server.interactions.operation import Definition, Operation, operations
from fhir_server.interactions.parameters import Parameter
from fhir_server.search.parameters import defined_parameters, documentation

_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_Use = Literal["in", "out"]


def build_operation_definitions() -> dict[str, dict[str, Any]]:
    """Return the OperationDefinition of every operation of our own by its id."""
    offered = (operations()[code] for code in sorted(operations()))
    return {one.definition_id: _definition(one, one.own) for one in offered if one.own}


def _definition(operation: Operation, own: Definition) -> dict[str, Any]:
    parameters = [*_declared("in", (*own.takes, *_searched(own))), *_declared("out", own.gives)]
    return {
        "resourceType": "OperationDefinition",
        "id": operation.definition_id,
        "url": operation.definition,
        "version": SOFTWARE_VERSION,
        "name": "".join(part[:1].upper() + part[1:] for part in operation.definition_id.split("-")),
        **_texts("title", own.title),
        "status": "active",
        "kind": "operation",
        "date": SOFTWARE_DATE,
        **_texts("description", own.description),
        "affectsState": operation.affects_state,
        "code": operation.code,
        **({"resource": sorted(operation.types)} if operation.types else {}),
        **{level: level in operation.levels for level in ("system", "type", "instance")},
        **({"parameter": parameters} if parameters else {}),
    }


def _searched(own: Definition) -> Iterator[Parameter]:
    """Yield the parameters by which a search may ask, as R4 defines them; what callers define comes and goes."""
    named = {one.name for one in own.takes}
    for each in defined_parameters(own.searches) if own.searches else ():
        if each.refusal is None and each.code not in named:
            kind = own.searches
            said = documentation(each) or f"The search parameter {each.code} of {kind}"
            text = Text(said, f"Le paramètre de recherche {each.code} de {kind}")
            yield Parameter(each.code, "string", text, max="*", search_type=each.type)


def _declared(use: _Use, parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    return [_parameter(use, one) for one in parameters]


def _parameter(use: _Use, parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "use": use,
        "min": parameter.min,
        "max": parameter.max,
        **_texts("documentation", parameter.documentation),
        **({"type": parameter.type} if parameter.type else {}),
        **({"searchType": parameter.search_type} if parameter.search_type else {}),
        **({"part": _declared(use, parameter.part)} if parameter.part else {}),
    }


def _texts(name: str, text: Text) -> dict[str, Any]:
    french = [{"url": "lang", "valueCode": "fr"}, {"url": "content", "valueString": text.fr}]
    return {name: text.en, f"_{name}": {"extension": [{"url": _TRANSLATION, "extension": french}]}}
