"""SMART scopes: which actions on which types a token was granted.

Both grammars are read: ``patient/Observation.rs?category=laboratory`` (v2) and ``patient/Observation.read`` (v1).
What is not exactly a scope is refused, never repaired: a repaired scope is one that nobody has consented to.
Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, cast
from urllib.parse import parse_qsl, quote

from fhir_server.fhir.definitions import is_resource_type

ScopeContext = Literal["patient", "user", "system"]
Letter = Literal["c", "r", "u", "d", "s"]

LONGEST = 8_192
"""Characters of one request's scopes together."""

ANY = "*"
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|[cruds]+)(?:\?(.+))?", re.ASCII)
_V2_ACTIONS = re.compile(r"(?=.)c?r?u?d?s?")
_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749's scope-token."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_PLAIN = frozenset(
    {"openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access"}
    | {"ITI-65", "ITI-66", "ITI-67", "ITI-68"}
)
_UNRESERVED = "/:|,$@!*()'.~-_"
_TRANSACTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "ITI-65": (("Bundle", "c"), ("DocumentReference", "cu"), ("List", "c"), ("Binary", "c")),
    "ITI-66": (("List", "rs"),),
    "ITI-67": (("DocumentReference", "rs"),),
    "ITI-68": (("DocumentReference", "r"), ("Binary", "r")),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """One clinical scope: ``patient/Observation.rs?category=laboratory``.

    ``resource_type`` is ``*`` for all; ``actions`` are letters of ``cruds`` in that order; ``parameters`` narrow it
    to what such a search finds.
    """

    context: ScopeContext
    resource_type: str
    actions: str
    parameters: tuple[tuple[str, str], ...] = ()

    def names(self, resource_type: str, letter: str) -> bool:
        """Say whether the scope is about this action on this type, whatever its parameters."""
        return letter in self.actions and self.resource_type in (ANY, resource_type)


class Scopes(NamedTuple):
    """A scope parameter understood, each part without repeats and in the order given.

    ``plain`` are those without a resource type (``openid``, ``launch/patient``, IUA's ``ITI-67``).
    """

    scopes: tuple[Scope, ...]
    plain: tuple[str, ...]
    refused: tuple[str, ...]


def parse_scope(text: str) -> Scope | None:
    """Return one clinical scope of either grammar; None for what is not exactly one."""
    matched = _SCOPE.fullmatch(text) if _TOKEN.fullmatch(text) else None
    if matched is None:
        return None
    resource_type, actions, query = matched.group(2, 3, 4)
    context = cast(ScopeContext, matched[1])
    if resource_type != ANY and not is_resource_type(resource_type):
        return None
    if actions in _V1:
        return Scope(context, resource_type, _V1[actions]) if query is None else None
    if not _V2_ACTIONS.fullmatch(actions):
        return None
    parameters = () if query is None else _parse_parameters(query)
    return None if parameters is None else Scope(context, resource_type, actions, parameters)


@lru_cache(4_096)
def parse_scopes(text: str) -> Scopes:
    """Return what the blank-separated words of a ``scope`` parameter mean; what means nothing is in ``refused``."""
    if len(text) > LONGEST:
        return Scopes((), (), ("",))
    scopes: dict[Scope, None] = {}
    plain: dict[str, None] = {}
    refused: dict[str, None] = {}
    for word in text.split(" "):
        scope = parse_scope(word)
        if scope is not None:
            scopes[scope] = None
        elif word in _PLAIN:
            plain[word] = None
        elif word:
            refused[word] = None
    return Scopes(tuple(scopes), tuple(plain), tuple(refused))


def format_scope(scope: Scope) -> str:
    """Return the scope in v2's grammar; ``parse_scope`` of it gives the same scope again."""
    text = f"{scope.context}/{scope.resource_type}.{scope.actions}"
    pairs = [f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in scope.parameters]
    return f"{text}?{'&'.join(pairs)}" if pairs else text


def format_scopes(scopes: Iterable[Scope], plain: Iterable[str] = ()) -> str:
    """Return a ``scope`` parameter."""
    return " ".join((*plain, *map(format_scope, scopes)))


def narrow(granted: Iterable[Scope], requested: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return what both name: each scope of the answer lies within one of ``granted`` and one of ``requested``.

    Contexts are not traded for one another. Conditions of both sides hold together.
    """
    held = tuple(granted)
    found = dict.fromkeys(both for wish in requested for have in held if (both := _common(have, wish)) is not None)
    kept: list[Scope] = []
    for one in found:  # of two that mean the same in another order, the first stays
        if not any(_is_within(one, other) for other in kept):
            kept = [*(other for other in kept if not _is_within(other, one)), one]
    return tuple(kept)


def allows(scopes: Iterable[Scope], resource_type: str, letter: Letter) -> bool:
    """Say whether any scope names this action on this type, in whatever context and under whatever conditions."""
    return any(scope.names(resource_type, letter) for scope in scopes)


def expand_transactions(plain: Iterable[str], context: ScopeContext) -> tuple[Scope, ...]:
    """Return what IUA's transaction scopes among ``plain`` stand for, in the context of who uses them.

    Spec: https://profiles.ihe.net/ITI/IUA/index.html (scopes named by transaction)
    """
    return tuple(
        Scope(context, resource_type, actions)
        for name in plain
        for resource_type, actions in _TRANSACTIONS.get(name, ())
    )


def _parse_parameters(query: str) -> tuple[tuple[str, str], ...] | None:
    if _BAD_ESCAPE.search(query):
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20)
    except ValueError:
        return None
    if not all(_NAME.fullmatch(name) and value for name, value in pairs):
        return None
    return tuple(dict.fromkeys(pairs))


def _common(have: Scope, wish: Scope) -> Scope | None:
    types = {have.resource_type, wish.resource_type}
    actions = "".join(letter for letter in have.actions if letter in wish.actions)
    if have.context != wish.context or not actions or (len(types) == 2 and ANY not in types):
        return None
    resource_type = next(iter(types - {ANY}), ANY)
    parameters = tuple(dict.fromkeys((*have.parameters, *wish.parameters)))
    return Scope(have.context, resource_type, actions, parameters)


def _is_within(one: Scope, other: Scope) -> bool:
    """Say whether ``other`` says all that ``one`` does, so that this one adds nothing."""
    return (
        one.context == other.context
        and other.resource_type in (ANY, one.resource_type)
        and set(one.actions) <= set(other.actions)
        and set(one.parameters) >= set(other.parameters)
    )
