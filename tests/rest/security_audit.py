"""What the audit has been told of accounts and clients, in short."""

import base64
from dataclasses import dataclass
from typing import Any

from fhir_server.app import Composition
from fhir_server.fhir.json import parse_json
from tests.trail import stored_events

_NAMES = {"110122": "sign-in", "110123": "sign-out", "ITI-71": "access-token"}
_SECURITY = ("110114", "110113", "110112")


@dataclass(frozen=True)
class Told:
    """One event; ``by`` and ``about`` are ids of accounts or clients, else what stands in their place."""

    code: str
    outcome: str
    problem: str
    by: str
    client: str
    about: str
    request: str
    details: dict[str, str]
    resource: dict[str, Any]


def told(composition: Composition, *codes: str) -> list[Told]:
    """Return the events of accounts and clients, oldest first; of some codes alone if any are given."""
    events = [parse_json(one["body"]) for one in stored_events(composition.store())]
    read = [_told(event) for event in events if event["type"]["code"] in _SECURITY]
    return [one for one in read if not codes or one.code in codes]


def short(events: list[Told]) -> list[tuple[str, str, str, str]]:
    """Return code, problem, who has done it, and to whom."""
    return [(one.code, one.problem, one.by, one.about) for one in events]


def _told(event: dict[str, Any]) -> Told:
    code = event["subtype"][-1]["code"]
    entity = next(iter(event.get("entity", ())), {})
    actor = next(agent for agent in event["agent"] if agent["requestor"])
    apps = [agent for agent in event["agent"] if agent["type"]["coding"][0]["code"] == "110150"]
    return Told(
        _NAMES.get(code, code),
        event["outcome"],
        event.get("outcomeDesc", ""),
        _name(actor["who"]),
        _name(apps[0]["who"]) if apps else "",
        _name(entity.get("what", {})),
        base64.b64decode(entity.get("query", "")).decode(),
        {one["type"]: one["valueString"] for one in entity.get("detail", ())},
        event,
    )


def _name(who: dict[str, Any]) -> str:
    return str(who.get("identifier", {}).get("value") or who.get("display", ""))
