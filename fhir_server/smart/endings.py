"""Ends: of a consent, a client, an account. First the mark, then the tokens; both before the call returns.

A worker believes a token that it has looked up for half a second; whoever ends it is answered after that, so that an
end holds everywhere as soon as it is told. Who issues a token inserts it first and looks for the marks then
(``tokens.Tokens.issue``), so that of an end and an issue at the same moment no token is left alive.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.smart.clients import CLIENTS
from fhir_server.smart.ground import Ground

GRANTS = "smart_grants"
TOKENS = "smart_tokens"
CODES = "smart_codes"
REQUESTS = "smart_requests"


def end_grant(ground: Ground, grant: str) -> None:
    """End one consent: every code and token that came of it."""
    _end_grants(ground, {"_id": grant})
    _delete(ground, {"grant": grant})


def end_client(ground: Ground, client: str) -> bool:
    """End a client with all that it has been given; False when there is none."""
    marked = ground.records.change(CLIENTS, {"_id": client, "ended": None}, [{"$set": {"ended": "$$NOW"}}])
    _end_grants(ground, {"client": client})
    _delete(ground, {"client": client})
    return marked is not None


def end_account(ground: Ground, account: str) -> None:
    """End all that apps have been given on behalf of an account; whoever calls has locked or closed it before."""
    _end_grants(ground, {"account": account})
    _delete(ground, {"account": account})


def end_person(ground: Ground, account: str, patient: str) -> None:
    """End what an account has let apps do for one patient: it represents them no longer."""
    for grant in ground.records.find(GRANTS, {"account": account, "patient": patient, "ended": None}):
        end_grant(ground, grant["_id"])


def _end_grants(ground: Ground, filter: Mapping[str, Any]) -> None:
    ground.records.change_many(GRANTS, {**filter, "ended": None}, [{"$set": {"ended": "$$NOW"}}])


def _delete(ground: Ground, filter: Mapping[str, Any]) -> None:
    ground.records.delete(CODES, filter)
    delete_tokens(ground, filter)


def delete_tokens(ground: Ground, filter: Mapping[str, Any]) -> None:
    """Delete tokens; when this returns, no worker takes them any more."""
    if ground.records.delete(TOKENS, filter):
        ground.settle()
