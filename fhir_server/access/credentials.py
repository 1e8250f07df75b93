"""Credentials that do not count (any more)."""

from fhir_server.access.caller import Caller
from fhir_server.errors import Login, Text


class RefusedToken(Login):
    """Credentials that no longer count, of somebody known: the refusal is noted with their name."""

    def __init__(self, text: Text, *, caller: Caller, headers: dict[str, str] | None = None) -> None:
        super().__init__(text, headers=headers)
        self.caller = caller
