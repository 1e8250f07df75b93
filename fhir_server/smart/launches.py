"""Launch contexts of an EHR launch: minted for one app and one user, good once and for five minutes.

Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch,
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#launch-context-arrives-with-your-access_token
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from fhir_server.smart.ground import Ground, aware, digest
from fhir_server.smart.people import Account

LAUNCHES = "smart_launches"
SECONDS = 300
_ID = validate.Regexp(r"[A-Za-z0-9\-.]{1,64}\Z")
_REFERENCE = validate.Regexp(r"[A-Z][A-Za-z]{2,40}/[A-Za-z0-9\-.]{1,64}\Z")
_WORD = validate.Length(min=1, max=256)
_NAMES = frozenset({"reference", "canonical", "identifier"})


class _Identifier(Schema):
    system = fields.String(validate=_WORD)
    value = fields.String(required=True, validate=_WORD)


class _FhirContext(Schema):
    reference = fields.String(validate=_REFERENCE)
    canonical = fields.Url(schemes={"http", "https"})
    identifier = fields.Nested(_Identifier)
    type = fields.String(validate=_WORD)
    role = fields.String(validate=_WORD)

    @validates_schema
    def _names_something(self, data: Mapping[str, Any], **_: Any) -> None:
        if not _NAMES & data.keys():
            raise ValidationError("An item has a reference, a canonical or an identifier.")


class LaunchRequest(Schema):
    """What an EHR sends to mint a launch context; ``user`` is ``Practitioner/id`` or an identifier ``system|value``."""

    client_id = fields.String(required=True, validate=_WORD)
    user = fields.String(validate=_WORD)
    patient = fields.String(validate=_ID)
    encounter = fields.String(validate=_ID)
    need_patient_banner = fields.Boolean()
    intent = fields.String(validate=_WORD)
    smart_style_url = fields.Url(schemes={"https"})
    fhirContext = fields.List(fields.Nested(_FhirContext), validate=validate.Length(max=20))


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch context; ``context`` are the parameters of the token response."""

    id: str
    client: str
    user: str | None
    context: Mapping[str, Any]

    def is_for(self, account: Account) -> bool:
        """Say whether it was minted for this user, if for any one in particular."""
        professional = account.professional
        names = {account.id, account.fhir_user, *(professional.identifiers if professional else ())}
        return self.user is None or self.user in names


@dataclass(frozen=True, slots=True)
class Launches:
    """The launch contexts of one deployment."""

    ground: Ground

    def mint(self, client: str, user: str | None, context: Mapping[str, Any]) -> str:
        """Keep a context for an app and return the value of its ``launch`` parameter."""
        secret = self.ground.secret()
        document = {
            "_id": digest(secret),
            "client": client,
            "user": user,
            "context": dict(context),
            "expires": self.ground.now() + timedelta(seconds=SECONDS),
            "used": None,
        }
        self.ground.records.insert(LAUNCHES, document)
        return secret

    def find(self, secret: str, client: str) -> Launch | None:
        """Return a context of this app that is still good and unused, or None."""
        found = self.ground.find_one(LAUNCHES, {"_id": digest(secret), "client": client, "used": None})
        if found is None or aware(found["expires"]) <= self.ground.now():
            return None
        return Launch(found["_id"], client, found["user"], found["context"])

    def use_up(self, launch: Launch) -> bool:
        """Mark it used; False when somebody else was faster."""
        unused = {"_id": launch.id, "used": None}
        return self.ground.records.change(LAUNCHES, unused, [{"$set": {"used": "$$NOW"}}]) is not None
