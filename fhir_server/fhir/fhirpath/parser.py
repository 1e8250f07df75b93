"""Tokens → syntax tree: precedence climbing for operators, recursive descent for terms.

Both the recursion of the parser and the depth of the tree are bounded, so neither parsing nor evaluation can exhaust
the stack. Spec: http://hl7.org/fhirpath/N1/grammar.html, http://hl7.org/fhirpath/N1/#operator-precedence
"""

from decimal import Decimal

from fhir_server.errors import Invalid, Text
from fhir_server.fhir.fhirpath import values
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
    parts,
)
from fhir_server.fhir.fhirpath.lexer import Token, syntax_error, tokenize

MAX_NESTING = 80
"""Expressions within expressions while parsing: brackets, arguments, right operands, signs."""
MAX_DEPTH = 100
"""Levels of the tree, where each operator of a chain such as ``a and b and c`` is one; a union is one in all."""

_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"in", "contains"}),
    frozenset({"=", "~", "!=", "!~"}),
    frozenset({"<", ">", "<=", ">="}),
    frozenset({"|"}),
    frozenset({"is", "as"}),
    frozenset({"+", "-", "&"}),
    frozenset({"*", "/", "div", "mod"}),
)
_BINDING = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators}
_MAX_INTEGER = 2**31 - 1
_TYPE_FUNCTIONS = frozenset({"is", "as", "ofType"})


def parse(text: str) -> Tree:
    """Return the syntax tree; raises ``errors.Invalid`` with the position of the first fault."""
    parser = _Parser(tokenize(text))
    tree = parser.expression(0)
    if parser.current.kind != "end":
        raise parser.unexpected()
    _check_depth(tree)
    return tree


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nesting = 0

    @property
    def current(self) -> Token:
        return self._tokens[self._at]

    def unexpected(self) -> Invalid:
        token = self.current
        if token.kind == "end":
            return syntax_error(token.position, "the expression ends too early", "l’expression se termine trop tôt")
        return syntax_error(token.position, "something else was expected here", "autre chose était attendu ici")

    def expression(self, level: int) -> Tree:
        """Parse operators of this level of precedence and all that bind more tightly."""
        self._enter()
        left = self._unary()
        while (binding := self._operator()) is not None and binding >= level:
            left = self._operation(left, binding)
        self._nesting -= 1
        return left

    def _operation(self, left: Tree, binding: int) -> Tree:
        operator = self._next().text
        if operator in ("is", "as"):
            return TypeTest(operator, left, self._type_name())
        if operator != "|":
            return Binary(operator, left, self.expression(binding + 1))
        branches = [left, self.expression(binding + 1)]
        while self._accept("|"):
            branches.append(self.expression(binding + 1))
        return Union(tuple(branches))

    def _operator(self) -> int | None:
        token = self.current
        return None if token.quoted or token.kind not in ("name", "symbol") else _BINDING.get(token.text)

    def _unary(self) -> Tree:
        token = self.current
        if token.kind == "symbol" and token.text in "+-":
            self._enter()
            self._next()
            operand = self._unary()
            self._nesting -= 1
            return Unary(token.text, operand)
        return self._path()

    def _path(self) -> Tree:
        head: Tree | None = None
        steps: list[Step] = []
        if (self.current.kind == "name" and self.current.text not in ("true", "false")) or self.current.quoted:
            steps.append(self._invocation())
        else:
            head = self._term()
        while True:
            if self._accept("."):
                steps.append(self._invocation())
            elif self._accept("["):
                steps.append(Index(self._nested("]")))
            else:
                break
        if head is not None and not steps:
            return head
        return Path(head, tuple(steps))

    def _invocation(self) -> Step:
        token = self.current
        if token.kind != "name":
            raise self.unexpected()
        self._next()
        if not self._accept("("):
            return Member(token.text)
        if token.text in _TYPE_FUNCTIONS and not token.quoted:
            name = self._type_name()
            self._expect(")")
            return TypeCall(token.text, name)
        if self._accept(")"):
            return Call(token.text, (), token.position)
        arguments = [self.expression(0)]
        while self._accept(","):
            arguments.append(self.expression(0))
        self._expect(")")
        return Call(token.text, tuple(arguments), token.position)

    def _term(self) -> Tree:
        token = self.current
        literal = _literal(token)
        if literal is None and token.text not in ("(", "{") and token.kind not in ("variable", "special", "number"):
            raise self.unexpected()
        self._next()
        if literal is not None:
            return literal
        if token.kind == "symbol" and token.text == "(":
            return self._nested(")")
        if token.kind == "symbol" and token.text == "{":
            self._expect("}")
            return Empty()
        if token.kind == "variable":
            return Variable(token.text)
        if token.kind == "special":
            return Special(token.text[1:])
        return self._number(token)

    def _number(self, token: Token) -> Tree:
        unit = self.current
        if unit.kind == "string":
            self._next()
            return Literal(values.Quantity(Decimal(token.text), unit.text))
        if unit.kind == "name" and not unit.quoted and unit.text in values.CALENDAR_UNITS:
            self._next()
            return Literal(values.Quantity(Decimal(token.text), values.CALENDAR_UNITS[unit.text]))
        if "." in token.text or len(token.text) > 10 or int(token.text) > _MAX_INTEGER:
            return Literal(Decimal(token.text))
        return Literal(int(token.text))

    def _type_name(self) -> TypeName:
        first = self._name()
        if self.current.text == "." and self._tokens[self._at + 1].kind == "name" and first in ("FHIR", "System"):
            self._next()
            return TypeName(first, self._name())
        return TypeName(None, first)

    def _name(self) -> str:
        token = self.current
        if token.kind != "name":
            raise self.unexpected()
        return self._next().text

    def _nested(self, closing: str) -> Tree:
        tree = self.expression(0)
        self._expect(closing)
        return tree

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise _too_complex()

    def _next(self) -> Token:
        token = self.current
        if token.kind != "end":
            self._at += 1
        return token

    def _accept(self, symbol: str) -> bool:
        if self.current.kind == "symbol" and self.current.text == symbol:
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self.unexpected()


def _check_depth(tree: Tree) -> None:
    level: list[Tree] = [tree]
    for _ in range(MAX_DEPTH):
        level = [part for parent in level for part in parts(parent)]
        if not level:
            return
    raise _too_complex()


def _literal(token: Token) -> Tree | None:
    if token.kind == "string":
        return Literal(token.text)
    if token.kind == "name" and not token.quoted and token.text in ("true", "false"):
        return Literal(token.text == "true")
    if token.kind in ("datetime", "time"):
        moment = values.parse_literal(token.text)
        if moment is None:
            raise syntax_error(token.position, "no such date or time", "date ou heure inexistante")
        return Literal(moment)
    return None


def _too_complex() -> Invalid:
    return Invalid(
        Text(
            "This FHIRPath expression nests too deeply or chains too many operators.",
            "Cette expression FHIRPath est trop imbriquée ou enchaîne trop d’opérateurs.",
        )
    )
