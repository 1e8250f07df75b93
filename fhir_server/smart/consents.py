"""Consents: what a person has let an app do, for whom; every code and token of the app belongs to one.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from fhir_server.smart.endings import GRANTS
from fhir_server.smart.ground import Ground, aware


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent (OAuth's grant).

    ``scope`` is what was agreed to; ``patient`` the id of the patient in context; ``context`` what SMART's launch
    context adds to the token response; ``role`` the professional's PractitionerRole.
    """

    id: str
    client: str
    account: str
    scope: str
    created: datetime
    auth_time: datetime
    acr: str = ""
    amr: tuple[str, ...] = ()
    role: str | None = None
    patient: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Consents:
    """The consents of one deployment."""

    ground: Ground

    def insert(self, consent: Consent) -> None:
        """Keep a new consent."""
        document = asdict(consent)
        self.ground.records.insert(GRANTS, {"_id": document.pop("id"), **document, "ended": None})

    def find(self, id: str) -> Consent | None:
        """Return a consent that has not ended, or None."""
        found = self.ground.find_one(GRANTS, {"_id": id, "ended": None})
        return None if found is None else _to_consent(found)

    def of_account(self, account: str) -> list[Consent]:
        """Return a person's consents that have not ended, the newest first."""
        found = self.ground.records.find(GRANTS, {"account": account, "ended": None}, (("created", -1),))
        return [_to_consent(one) for one in found]


def _to_consent(document: Mapping[str, Any]) -> Consent:
    values = {each.name: document[each.name] for each in fields(Consent) if each.name != "id"}
    moments = {name: aware(values[name]) for name in ("created", "auth_time")}
    return Consent(**{**values, **moments, "id": document["_id"], "amr": tuple(values["amr"])})
