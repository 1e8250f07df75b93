"""The words of a ``scope`` parameter on their way from a request to a grant: kept as written, cut, or dropped.

A word that is granted in full stays as the app has written it, so that one that speaks v1 is answered in v1.
Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html, https://www.rfc-editor.org/rfc/rfc6749#section-3.3
"""

from collections.abc import Container

from fhir_server.access.scope_tree import is_enforceable
from fhir_server.access.scopes import ScopeContext, format_scope, narrow, parse_scope, parse_scopes

TRANSACTIONS = frozenset({"ITI-65", "ITI-66", "ITI-67", "ITI-68"})
"""Words of IUA, for transactions of MHD."""
LAUNCH = (
    "openid",
    "fhirUser",
    "profile",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
)
"""Words that an app asks a person for: who they are, whose record it is, for how long."""


def narrow_words(allowed: str, requested: str) -> list[str]:
    """Return what of the requested words lies within the allowed ones, in the order requested, none twice."""
    limits = parse_scopes(allowed)
    found: dict[str, None] = {}
    for word in requested.split(" "):
        scope = parse_scope(word)
        if scope is None:
            found |= dict.fromkeys([word] if word in limits.plain else [])
            continue
        common = narrow(limits.scopes, (scope,))
        found |= dict.fromkeys([word] if common == (scope,) else map(format_scope, common))
    return list(found)


def grantable_words(
    words: list[str], contexts: Container[ScopeContext], plain: Container[str], base_url: str
) -> list[str]:
    """Return the words that this kind of grant can give: of these contexts, of these plain ones, and enforceable."""
    found = []
    for word in words:
        scope = parse_scope(word)
        if scope is None:
            found += [word] if word in plain else []
        elif scope.context in contexts and is_enforceable(scope, base_url):
            found.append(word)
    return found


def is_within(requested: str, granted: str) -> bool:
    """Say whether every requested word was granted as it is or wider."""
    words = dict.fromkeys(word for word in requested.split(" ") if word)
    return bool(words) and narrow_words(granted, requested) == list(words)
