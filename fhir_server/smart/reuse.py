"""A code or refresh token that was used before: whoever brings it has stolen it, or it was stolen from them.

Spec: https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
"""

from typing import Literal

from authlib.oauth2.rfc6749 import InvalidGrantError


class Reused(InvalidGrantError):  # type: ignore[misc,unused-ignore]
    """``invalid_grant`` for a credential that was used up; what came of it has been ended."""

    def __init__(
        self,
        description: str,
        credential: Literal["code", "refresh_token"],
        grant: str,
        client: str,
        account: str | None,
    ) -> None:
        super().__init__(description)
        self.credential = credential
        self.grant = grant
        self.client = client
        self.account = account
