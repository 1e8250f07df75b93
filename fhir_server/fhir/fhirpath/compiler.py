"""Syntax tree → closures. A closure never changes a collection that it was given or has given away.

The implicit focus of an expression is ``$this``, so a compiled expression needs the context only; a step of a path
needs the items before it too. Spec: http://hl7.org/fhirpath/N1/#operations, http://hl7.org/fhir/R4/fhirpath.html
"""

from collections.abc import Callable
from typing import TypeAlias

from fhir_server.errors import Invalid, Text
from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.ast import (
    Binary,
    Call,
    Empty,
    Index,
    Literal,
    Member,
    Path,
    Special,
    Step,
    Tree,
    TypeCall,
    TypeName,
    TypeTest,
    Unary,
    Union,
    Variable,
)
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.equality import distinct
from fhir_server.fhir.fhirpath.functions.fhir import resolves_to
from fhir_server.fhir.fhirpath.functions.registry import FUNCTIONS
from fhir_server.fhir.fhirpath.nodes import RESOURCES, select
from fhir_server.fhir.fhirpath.operators import compile_binary, compile_unary
from fhir_server.fhir.fhirpath.system import collection_of, single, single_integer, system_node
from fhir_server.fhir.fhirpath.type_names import check_known, is_of_type, type_test
from fhir_server.fhir.fhirpath.variables import compile_variable

Apply: TypeAlias = Callable[[Context, Collection], Collection]


def compile_tree(tree: Tree) -> Evaluate:
    """Return the closure; raises ``errors.Invalid`` for unknown functions and types and wrong numbers of arguments."""
    match tree:
        case Path(head, steps):
            return _compile_path(head, steps)
        case Literal(value):
            items = [system_node(value)]
            return lambda context: items
        case Empty():
            nothing: Collection = []
            return lambda context: nothing
        case Variable(name):
            return compile_variable(name)
        case Special(name):
            return _SPECIALS[name]
        case Union(branches):
            return _compile_union(tuple(compile_tree(branch) for branch in branches))
        case Unary(operator, operand):
            return compile_unary(operator, compile_tree(operand))
        case Binary(operator, left, right):
            return compile_binary(operator, compile_tree(left), compile_tree(right))
        case TypeTest(operator, operand, name):
            return _compile_type_test(operator, operand, name)


def _compile_path(head: Tree | None, steps: tuple[Step, ...]) -> Evaluate:
    start = _this if head is None else compile_tree(head)
    if head is None and isinstance(steps[0], Member) and _names_type(steps[0].name):
        start, steps = _compile_root(steps[0].name), steps[1:]
    applications = tuple(
        _compile_type_call(step.name, step.type, after_resolve=index > 0 and _is_resolve(steps[index - 1]))
        if isinstance(step, TypeCall)
        else _compile_step(step)
        for index, step in enumerate(steps)
        if not (_is_resolve(step) and index + 1 < len(steps) and _asks_type(steps[index + 1]))
    )
    if not applications:
        return start
    if len(applications) == 1:
        only = applications[0]
        return lambda context: only(context, start(context))

    def path(context: Context) -> Collection:
        items = start(context)
        for application in applications:
            items = application(context, items)
        return items

    return path


def _compile_step(step: Step) -> Apply:
    match step:
        case Member(name):
            return _compile_member(name)
        case Index(expression):
            return _compile_index(compile_tree(expression))
        case TypeCall(name, type_name):
            return _compile_type_call(name, type_name, after_resolve=False)
        case Call(name, arguments, _):
            return _compile_call(step, tuple(compile_tree(argument) for argument in arguments))


def _compile_member(name: str) -> Apply:
    def member(context: Context, items: Collection) -> Collection:
        out: Collection = []
        for item in items:
            select(item, name, out)
        context.spend(1 + max(len(items), len(out)))
        return out

    return member


def _compile_root(name: str) -> Evaluate:
    """The first name of a path may be the type of the focus: ``Patient.name`` on a Patient is ``name``."""
    test = type_test(TypeName("FHIR", name))

    def root(context: Context) -> Collection:
        context.spend(1)
        return [item for item in context.this if test(item)]

    return root


def _compile_index(expression: Evaluate) -> Apply:
    def index(context: Context, items: Collection) -> Collection:
        at = single_integer(context, expression(context))
        return [] if at is None or at < 0 else items[at : at + 1]

    return index


def _compile_call(step: Call, arguments: tuple[Evaluate, ...]) -> Apply:
    function = FUNCTIONS.get(step.name)
    if function is None:
        raise _invalid_call(step, "there is no function of this name", "aucune fonction ne porte ce nom")
    if not function.takes(len(arguments)):
        raise _invalid_call(
            step, "this function takes another number of arguments", "cette fonction prend un autre nombre d’arguments"
        )
    call = function.call
    if not arguments:
        return call
    if len(arguments) == 1:
        only = arguments[0]
        return lambda context, items: call(context, items, only)
    return lambda context, items: call(context, items, *arguments)


def _compile_type_call(operator: str, name: TypeName, after_resolve: bool) -> Apply:
    check_known(name)
    if operator == "is":
        return _is_resolved_type(name) if after_resolve else _is_type(name)
    test = type_test(name)

    def of_type(context: Context, items: Collection) -> Collection:
        context.spend(1 + len(items))
        return [item for item in items if test(item)]

    # R4's own invariants and search parameters use ``as`` on several items, so it filters, as ``ofType`` does.
    return of_type


def _compile_type_test(operator: str, operand: Tree, name: TypeName) -> Evaluate:
    if isinstance(operand, Path) and _is_resolve(operand.steps[-1]) and operator == "is":
        rest = operand.steps[:-1]
        start = compile_tree(Path(operand.head, rest)) if rest or operand.head is not None else _this
        apply = _compile_type_call(operator, name, after_resolve=True)
    else:
        start = compile_tree(operand)
        apply = _compile_type_call(operator, name, after_resolve=False)
    return lambda context: apply(context, start(context))


def _is_type(name: TypeName) -> Apply:
    test = type_test(name)

    def is_(context: Context, items: Collection) -> Collection:
        item = single(context, items)
        return [] if item is None else collection_of(test(item))

    return is_


def _is_resolved_type(name: TypeName) -> Apply:
    """``resolve() is T`` without fetching where the reference itself says its type."""

    def is_(context: Context, items: Collection) -> Collection:
        item = single(context, items)
        context.spend(1)
        found = None if item is None else resolves_to(context, item)
        return [] if found is None else collection_of(is_of_type(found, name))

    return is_


def _compile_union(branches: tuple[Evaluate, ...]) -> Evaluate:
    def union(context: Context) -> Collection:
        out: Collection = []
        for branch in branches:
            found = branch(context)
            if found:
                context.spend(len(found))
                out = out + found
        return distinct(context, out)

    return union


def _names_type(name: str) -> bool:
    return name[:1].isupper() and (definitions.has_structure(name) or name in RESOURCES)


def _is_resolve(step: Step) -> bool:
    return isinstance(step, Call) and step.name == "resolve" and not step.arguments


def _asks_type(step: Step) -> bool:
    return isinstance(step, TypeCall) and step.name == "is"


def _invalid_call(step: Call, en: str, fr: str) -> Invalid:
    place = step.position + 1
    return Invalid(
        Text(
            f"FHIRPath error at character {place}: {en} (“{step.name}”).",
            f"Erreur FHIRPath au caractère {place} : {fr} (« {step.name} »).",
        )
    )


def _this(context: Context) -> Collection:
    return context.this


def _index(context: Context) -> Collection:
    return collection_of(context.index)


def _total(context: Context) -> Collection:
    return context.total


_SPECIALS: dict[str, Evaluate] = {"this": _this, "index": _index, "total": _total}
