"""From SearchParameter resources that callers write to parameters in force, and what such a resource must keep to.

An expression of a caller's runs on every resource of its types that anybody writes. So only expressions are taken
whose results can be told from their text: they walk down from the resource, filter and cast. What fetches
(``resolve()`` other than as ``resolve() is Type``), repeats, computes, matches regular expressions or asks the time is
refused.
Spec: http://hl7.org/fhir/R4/searchparameter.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from fhir_server.errors import FhirError, Issue, Text
from fhir_server.fhir.definitions import is_resource_type, resource_types, search_parameter_definitions
from fhir_server.fhir.fhirpath.ast import Call, Path, Tree, TypeCall, parts
from fhir_server.fhir.fhirpath.parser import parse
from fhir_server.fhir.fhirpath.result_types import result_types, told_functions
from fhir_server.search.parameters import SearchParameter, build_parameter, search_parameter
from fhir_server.search.stored import StoredParameters, stored_parameters_in_force

LONGEST_EXPRESSION = 2_000
DEEPEST_CRITERION = 4

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_COMMON_BASES = frozenset({"Resource", "DomainResource"})
_TEXTS = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid", "System.String"})
_FITTING: Mapping[str, frozenset[str]] = {
    "number": frozenset({"decimal", "integer", "positiveInt", "unsignedInt", "Range"}),
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "string": _TEXTS | {"HumanName", "Address", "Annotation"},
    "token": _TEXTS | {"Identifier", "CodeableConcept", "Coding", "ContactPoint", "boolean", "System.Boolean"},
    "reference": frozenset({"Reference", "canonical", "uri", "url"}),
    "quantity": frozenset({"Quantity", "Age", "Duration", "Count", "Distance", "Money", "Range", "SampledData"}),
    "uri": frozenset({"uri", "url", "canonical", "oid", "uuid"}),
}
_MEANING = ("code", "base", "type", "expression", "target", "component")


def is_published(resource: Mapping[str, Any] | None) -> bool:
    """Say whether a SearchParameter resource is to be in force: active, and no mere repetition of one of R4's."""
    return resource is not None and resource.get("status") == "active" and not _repeats_r4(resource)


def has_same_meaning(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Say whether an index made for one definition serves the other."""
    return one is not None and other is not None and all(one.get(name) == other.get(name) for name in _MEANING)


def bases_of(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the resource types that a definition applies to, ``Resource`` and ``DomainResource`` resolved."""
    bases = resource.get("base", ())
    if _COMMON_BASES.intersection(bases):
        return tuple(sorted(resource_types()))
    return tuple(sorted({base for base in bases if is_resource_type(base)}))


def build_stored_parameters(
    generation: int, definitions: Sequence[Mapping[str, Any]], pending: Mapping[str, Text]
) -> StoredParameters:
    """Return the snapshot of published definitions; ``pending`` says of some (``SearchParameter/id``) why not yet."""
    by_type: dict[str, dict[str, SearchParameter]] = {}
    by_url = {definition["url"]: definition for definition in definitions}
    # Composites find their components among them.
    with stored_parameters_in_force(StoredParameters(generation, {}, by_url)):
        for definition in sorted(definitions, key=lambda one: one["type"] == "composite"):
            waits = pending.get(f"SearchParameter/{definition['id']}")
            common = ("Resource",) if "Resource" in definition["base"] else ()
            for base in (*common, *bases_of(definition)):
                built = build_parameter(base, definition)
                if waits is not None and built.refusal is None:
                    built = replace(built, refusal=waits, pending=True)
                by_type.setdefault(base, {})[built.code] = built
    return StoredParameters(generation, by_type, by_url)


def check_definition(resource: Mapping[str, Any], in_force: StoredParameters) -> list[Issue]:
    """Return every reason why the definition cannot be published beside those in force; its own older self aside.

    Its structure, the codes of its bases, targets and type included, has been checked before.
    """
    issues = list(_code(resource, in_force))
    if resource.get("type") == "composite":
        issues += _components(resource, in_force)
    elif resource.get("type") not in _FITTING:
        issues.append(_issue("type", _NO_SPECIAL, "not-supported"))
    issues += _expression(resource)
    if not issues:
        issues += _unsupported(resource, in_force)
    return issues


def _repeats_r4(resource: Mapping[str, Any]) -> bool:
    defined = _r4_definitions().get(resource.get("url", ""))
    return (
        defined is not None
        and all(resource.get(name) == defined.get(name) for name in ("code", "type"))
        and (
            set(resource.get("base", ())) <= set(defined["base"])
            and resource.get("expression") == defined.get("expression")
        )
    )


@cache
def _r4_definitions() -> Mapping[str, Mapping[str, Any]]:
    return {definition["url"]: definition for definition in search_parameter_definitions()}


def _code(resource: Mapping[str, Any], in_force: StoredParameters) -> Iterator[Issue]:
    code = resource.get("code", "")
    if not _CODE.fullmatch(code):
        yield _issue("code", _BAD_CODE, "value")
        return
    others = {url: one for url, one in in_force.definitions.items() if one.get("id") != resource.get("id")}
    if resource.get("url") in others or resource.get("url") in _r4_definitions():
        yield _issue("url", _SAME_URL, "duplicate")
    with stored_parameters_in_force(StoredParameters()):
        clashing = [base for base in bases_of(resource) if search_parameter(base, code) is not None]
    for other in others.values():
        if other["code"] == code:
            clashing += set(bases_of(resource)).intersection(bases_of(other))
    if clashing:
        listed = ", ".join(sorted(set(clashing))[:5])
        text = Text(
            f"A search parameter of this code already exists for {listed}.",
            f"Un paramètre de recherche de ce code existe déjà pour {listed}.",
        )
        yield _issue("code", text, "duplicate")


def _components(resource: Mapping[str, Any], in_force: StoredParameters) -> Iterator[Issue]:
    components = resource.get("component", ())
    if len(components) < 2:
        yield _issue("component", _FEW_COMPONENTS, "required")
    for number, component in enumerate(components):
        url = str(component.get("definition", "")).partition("|")[0]
        definition = in_force.definitions.get(url) or _r4_definitions().get(url)
        if definition is None:
            yield _issue(f"component[{number}].definition", _NO_COMPONENT, "not-found")
        elif definition["type"] in ("composite", "special"):
            yield _issue(f"component[{number}].definition", _NESTED_COMPONENT, "not-supported")
        yield from _safety(f"component[{number}].expression", component.get("expression", ""))


def _expression(resource: Mapping[str, Any]) -> list[Issue]:
    expression = resource.get("expression")
    if not expression:
        return [_issue("expression", _NO_EXPRESSION, "required")]
    issues = list(_safety("expression", expression))
    if issues or resource.get("type") not in _FITTING:
        return issues
    fitting = _FITTING[resource["type"]]
    for base in bases_of(resource):
        types = result_types(expression, base)
        if types is None:
            return [_issue("expression", _UNTOLD, "not-supported")]
        if not types or not types & (fitting | {"Extension"}):
            kind = resource["type"]
            text = Text(
                f"On {base} the expression gives nothing that a parameter of type {kind} can hold.",
                f"Sur {base}, l’expression ne donne rien qu’un paramètre de type {kind} puisse contenir.",
            )
            return [_issue("expression", text, "invalid")]
    return []


def _safety(where: str, expression: str) -> Iterator[Issue]:
    if len(expression) > LONGEST_EXPRESSION:
        yield _issue(where, _LONG, "too-long")
        return
    try:
        tree = parse(expression)
    except FhirError as error:
        yield from (replace(one, expression=(f"SearchParameter.{where}",)) for one in error.issues)
        return
    forbidden = sorted(set(_forbidden(tree)))
    if forbidden:
        listed = ", ".join(forbidden)
        text = Text(
            f"The expression uses what could not be indexed safely: {listed}.",
            f"L’expression utilise ce qui ne peut être indexé sans danger : {listed}.",
        )
        yield _issue(where, text, "not-supported")
    elif _depth(tree) > DEEPEST_CRITERION:
        yield _issue(where, _DEEP, "too-costly")


def _forbidden(tree: Tree) -> Iterator[str]:
    """Yield the functions and variables that have no place in an expression that is kept."""
    if isinstance(tree, Path):
        for step, following in zip(tree.steps, (*tree.steps[1:], None), strict=True):
            if isinstance(step, Call) and step.name not in told_functions():
                yield f"{step.name}()"
            elif isinstance(step, Call) and step.name == "resolve" and not _asks_type(tree, step, following):
                yield "resolve()"
    elif type(tree).__name__ in ("Variable", "Unary"):
        yield f"%{getattr(tree, 'name', '')}" if type(tree).__name__ == "Variable" else "-"
    for part in parts(tree):
        yield from _forbidden(part)


def _asks_type(tree: Path, step: Call, following: object) -> bool:
    """Whether it is ``resolve() is Type``, which looks at the reference only; ``is`` outside the path counts too."""
    if isinstance(following, TypeCall):
        return following.name == "is"
    return following is None and tree.steps == (step,) and tree.head is None


def _depth(tree: Tree) -> int:
    """Return how deep criteria stand within criteria."""
    inner = max((_depth(part) for part in parts(tree)), default=0)
    calls = isinstance(tree, Path) and any(isinstance(step, Call) and step.arguments for step in tree.steps)
    return inner + (1 if calls else 0)


def _unsupported(resource: Mapping[str, Any], in_force: StoredParameters) -> Iterable[Issue]:
    """Yield what the server itself says of the parameter: a kind that it does not index."""
    with stored_parameters_in_force(in_force):
        for base in bases_of(resource):
            refusal = build_parameter(base, resource).refusal
            if refusal is not None:
                return [_issue("type", refusal, "not-supported")]
    return []


def _issue(where: str, text: Text, code: str) -> Issue:
    return Issue(code, text, "error", (f"SearchParameter.{where}",))


_BAD_CODE = Text(
    "The code of a search parameter is a letter followed by up to 63 letters, digits, - and _.",
    "Le code d’un paramètre de recherche est une lettre suivie d’au plus 63 lettres, chiffres, - et _.",
)
_SAME_URL = Text("Another search parameter has this url.", "Un autre paramètre de recherche a cette url.")
_NO_SPECIAL = Text(
    "Parameters of this type cannot be defined here.", "Les paramètres de ce type ne peuvent être définis ici."
)
_FEW_COMPONENTS = Text(
    "A composite needs two components at least.", "Un paramètre composite exige au moins deux composants."
)
_NO_COMPONENT = Text(
    "No search parameter in force has this url.", "Aucun paramètre de recherche en vigueur n’a cette url."
)
_NESTED_COMPONENT = Text(
    "A component must be of a plain type, neither composite nor special.",
    "Un composant doit être d’un type simple, ni composite ni special.",
)
_NO_EXPRESSION = Text("A parameter without an expression cannot be indexed.", "Sans expression, rien à indexer.")
_UNTOLD = Text(
    "What the expression gives cannot be told from its text; use a plain path with filters and casts.",
    "Le résultat de l’expression ne peut être déduit de son texte ; employez un chemin avec filtres et conversions.",
)
_LONG = Text(
    f"The expression is longer than {LONGEST_EXPRESSION} characters.",
    f"L’expression dépasse {LONGEST_EXPRESSION} caractères.",
)
_DEEP = Text("Criteria stand within criteria too deep.", "Des critères sont imbriqués trop profondément.")
