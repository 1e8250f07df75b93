"""The bearer token of a request to ``/fhir``, and the caller that it stands for.

Spec: https://www.rfc-editor.org/rfc/rfc6750, https://hl7.org/fhir/smart-app-launch/app-launch.html#step-7-access-fhir-api
"""

import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from fhir_server.access.caller import ANONYMOUS_CALLER, Caller
from fhir_server.access.credentials import RefusedToken
from fhir_server.errors import Invalid, Login, Text
from fhir_server.smart.ground import BELIEVED
from fhir_server.smart.tokens import Token, Tokens

_PUBLIC = frozenset({"/fhir/metadata", "/fhir/metadata/"})
"""What a client reads before it can know where to get a token."""

_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9\-._~+/]{1,512}=*) *")
_SCHEME = re.compile(r"(?i:bearer)(?: .*)?", re.DOTALL)
_NONE = Text(
    "A token is needed: /fhir/.well-known/smart-configuration says where to get one.",
    "Un jeton est nécessaire : /fhir/.well-known/smart-configuration indique où l’obtenir.",
)
_BAD = Text(
    "The token is not known here, has expired or has been revoked.",
    "Le jeton est inconnu ici, a expiré ou a été révoqué.",
)
_NOT_BEARER = Text(
    "The Authorization header must be: Bearer, a blank, the token.",
    "L’en-tête Authorization doit s’écrire : Bearer, une espace, le jeton.",
)
_IN_URL = Text(
    "A token does not belong into a URL, where logs keep it: send it in the Authorization header.",
    "Un jeton n’a pas sa place dans une URL, que les journaux conservent : placez-le dans l’en-tête Authorization.",
)


@dataclass(frozen=True, slots=True)
class BearerTokens:
    """Establishes the caller from the Authorization header, by ``authenticate``, as ``rest.authentication`` asks."""

    tokens: Tokens
    most_known: int = 10_000
    """Tokens remembered at a time; with one more all are forgotten."""
    _known: dict[str, tuple[float, Token, Caller]] = field(default_factory=dict)
    """Tokens looked up less than half a second ago, by themselves: never written anywhere."""

    def authenticate(self, environ: dict[str, Any]) -> Caller:
        """Return the caller behind a WSGI request. One round trip, none for a token looked up within half a second.

        Without a token it is the anonymous caller, and only for the capability statement. Raises ``Login`` (401, with
        ``WWW-Authenticate``) for every other request without a good token; ``RefusedToken`` when it is known whose it
        was; ``Invalid`` (400) for a token in the URL, good or not, beside another or alone (RFC 6750, section 3.1).
        """
        if _names_token(environ.get("QUERY_STRING", "")):
            raise Invalid(_IN_URL, headers=_challenge("invalid_request"))
        header = environ.get("HTTP_AUTHORIZATION")
        if header is None:
            if environ["PATH_INFO"] in _PUBLIC and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                return ANONYMOUS_CALLER
            raise _refused(_NONE, None)
        matched = _BEARER.fullmatch(header)
        if matched is None:
            # Another scheme is told no error, just as no header is: the client did not know that it takes a token.
            raise _refused(_NOT_BEARER, "invalid_token" if _SCHEME.fullmatch(header) else None)
        token, caller = self._look_up(matched[1])
        if token.expires <= self.tokens.ground.now():
            raise RefusedToken(_BAD, caller=caller, headers=_challenge("invalid_token"))
        return caller

    def _look_up(self, word: str) -> tuple[Token, Caller]:
        now = time.monotonic()
        known = self._known.get(word)
        if known is not None and now - known[0] < BELIEVED:
            return known[1:]
        token = self.tokens.look_up(word)
        if token is None or token.use != "access":
            self._known.pop(word, None)
            raise _refused(_BAD, "invalid_token")
        if len(self._known) >= self.most_known:
            self._known.clear()
        caller = token.to_caller()
        self._known[word] = (now, token, caller)
        return token, caller


def _names_token(query: str) -> bool:
    if "token" not in query and "%" not in query:
        return False
    return any(unquote_plus(pair.partition("=")[0]) == "access_token" for pair in query.split("&"))


def _refused(text: Text, error: str | None) -> Login:
    return Login(text, headers=_challenge(error))


def _challenge(error: str | None) -> dict[str, str]:
    return {"WWW-Authenticate": 'Bearer realm="fhir"' if error is None else f'Bearer realm="fhir", error="{error}"'}
