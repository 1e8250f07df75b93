"""Authorization requests that wait for a person: kept here while they log in and read, so that no page carries them.

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-10.12
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_server.smart.endings import REQUESTS
from fhir_server.smart.ground import Ground, aware, digest

SECONDS = 900


@dataclass(frozen=True, slots=True)
class Pending:
    """One request; ``form_token`` is in the form of whoever has been shown it, ``session`` whose session that was."""

    id: str
    parameters: Mapping[str, str]
    created: datetime
    form_token: str
    session: str | None

    def is_answered_by(self, session: str, form_token: str) -> bool:
        """Say whether a form was sent from the page that this session has been shown."""
        return self.session == session and hmac.compare_digest(form_token.encode(), self.form_token.encode())


@dataclass(frozen=True, slots=True)
class PendingRequests:
    """The waiting requests of one deployment."""

    ground: Ground

    def insert(self, parameters: Mapping[str, str]) -> str:
        """Keep a request and return the secret word of its page."""
        secret = self.ground.secret()
        document = {
            "_id": digest(secret),
            "parameters": dict(parameters),
            "created": self.ground.now(),
            "expires": self.ground.now() + timedelta(seconds=SECONDS),
            "form_token": self.ground.secret(),
            "session": None,
        }
        self.ground.records.insert(REQUESTS, document)
        return secret

    def find(self, secret: str) -> Pending | None:
        """Return a request that waits, or None."""
        found = self.ground.find_one(REQUESTS, {"_id": digest(secret)})
        return None if found is None or aware(found["expires"]) <= self.ground.now() else _to_pending(found)

    def show_to(self, pending: Pending, session: str) -> None:
        """Bind the request to the session that is being shown it."""
        self.ground.records.change(REQUESTS, {"_id": pending.id}, [{"$set": {"session": {"$literal": session}}}])

    def use_up(self, pending: Pending) -> bool:
        """Take the request away; False when it has been answered already."""
        return self.ground.records.delete(REQUESTS, {"_id": pending.id}) == 1


def _to_pending(found: Mapping[str, Any]) -> Pending:
    return Pending(found["_id"], found["parameters"], aware(found["created"]), found["form_token"], found["session"])
