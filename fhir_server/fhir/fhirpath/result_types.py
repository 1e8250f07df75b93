"""Which types an expression can give, read off its text: for expressions that callers hand in to be kept.

Only what walks down from the resource is told; whatever else an expression does (variables, recursion, computing) has
no answer here, and whoever needs one refuses it.
Spec: http://hl7.org/fhirpath/N1/#expressions
"""

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.ast import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Path,
    Step,
    Tree,
    TypeCall,
    TypeName,
    TypeTest,
    Union,
)
from fhir_server.fhir.fhirpath.nodes import RESOURCES, members
from fhir_server.fhir.fhirpath.parser import parse
from fhir_server.fhir.fhirpath.type_names import is_of_type

Types = frozenset[str]

_BOOLEAN: Types = frozenset({"System.Boolean"})
_TEXT: Types = frozenset({"System.String"})
_SAME = frozenset({"where", "first", "last", "tail", "skip", "take", "distinct", "getValue"})
_TRUTHS = frozenset({"exists", "empty", "not", "hasValue", "all", "contains", "startsWith", "endsWith", "hasExtension"})
_TEXTS = frozenset({"lower", "upper", "trim", "substring", "toString"})
_COMPARISONS = frozenset({"=", "!=", "~", "!~", "<", ">", "<=", ">=", "and", "or", "xor", "implies", "in", "contains"})
_TOLD_FUNCTIONS = _SAME | _TRUTHS | _TEXTS | {"extension", "union", "resolve", "iif"}


def told_functions() -> frozenset[str]:
    """Return the functions whose results can be told: none of them fetches, repeats, computes or knows the time."""
    return _TOLD_FUNCTIONS


def result_types(text: str, root_type: str) -> Types | None:
    """Return the FHIR (or ``System.``) types of what the expression gives on a resource of a type.

    The empty set: it gives nothing there. None: it cannot be told. Raises ``errors.Invalid`` for what is no FHIRPath.
    """
    return _types(parse(text), frozenset({root_type}), root_type)


def _types(tree: Tree, focus: Types, root: str) -> Types | None:
    match tree:
        case Union(branches):
            return _joined([_types(branch, focus, root) for branch in branches])
        case TypeTest("as", operand, name):
            return _cast(_types(operand, focus, root), name)
        case TypeTest("is", _, _) | Binary():
            return _BOOLEAN if isinstance(tree, TypeTest) or tree.operator in _COMPARISONS else None
        case Literal(value):
            return _BOOLEAN if isinstance(value, bool) else _TEXT if isinstance(value, str) else None
        case Path(None, (Member(name), *rest)) if _is_type(name):
            return _along(frozenset({root} if definitions.is_subtype(root, name) else ()), tuple(rest), root)
        case Path(None, steps):
            return _along(focus, steps, root)
        case Path(head, steps) if head is not None:
            return _along(_types(head, focus, root), steps, root)
        case _:
            return None


def _is_type(name: str) -> bool:
    return name[:1].isupper() and (definitions.has_structure(name) or name in RESOURCES)


def _along(types: Types | None, steps: tuple[Step, ...], root: str) -> Types | None:
    for step in steps:
        if types is None:
            return None
        types = _step(types, step, root)
    return types


def _step(types: Types, step: Step, root: str) -> Types | None:
    match step:
        case Member(name):
            return frozenset(child.type for one in types for child in members(one).get(name, ()))
        case Index():
            return types
        case TypeCall("is", _):
            return _BOOLEAN
        case TypeCall(_, name):
            return _cast(types, name)
        case Call(name, arguments):
            return _call(types, name, arguments, root)


def _call(types: Types, name: str, arguments: tuple[Tree, ...], root: str) -> Types | None:
    if name in _SAME:
        return types
    if name in _TRUTHS:
        return _BOOLEAN
    if name in _TEXTS:
        return _TEXT
    match name:
        case "extension":
            return frozenset({"Extension"})
        case "union" if len(arguments) == 1:
            return _joined([types, _types(arguments[0], types, root)])
        case "iif":
            return _joined([_types(argument, types, root) for argument in arguments[1:]])
        case _:
            return None


def _cast(types: Types | None, name: TypeName) -> Types | None:
    if types is None:
        return None
    if types & RESOURCES and definitions.is_resource_type(name.name):
        return frozenset({name.name})
    return frozenset(one for one in types if is_of_type(one, name))


def _joined(found: list[Types | None]) -> Types | None:
    out: Types = frozenset()
    for one in found:
        if one is None:
            return None
        out |= one
    return out
