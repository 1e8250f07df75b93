"""IUA's claims: what a professional's software or a backend says of the access that it asks a token for.

They come as form fields of the token request, or together as a JSON object in the field ``claims``. They are what the
client states, never facts: who somebody is comes from the login, and a backend states no more than it is registered
for. Domain: purposes of TRE_R248-ModeAcces.
Spec: https://profiles.ihe.net/ITI/IUA/index.html#3714221-json-web-token-option
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson
from authlib.oauth2.rfc6749 import InvalidRequestError
from marshmallow import Schema, ValidationError, fields, validate

from fhir_server.access.caller import Mode
from fhir_server.smart.clients import Client

UNKNOWN_PERSON = "person_id is system|value of one patient to whom the client may refer, the one in context."
PURPOSES = "urn:oid:1.2.250.1.213.1.1.4.248"
MODES = ("normal", "bris_de_glace", "centre_15")
_LONGEST = 4_096
_SHORT = validate.Length(min=1, max=256)


class _Coding(Schema):
    system = fields.String(validate=_SHORT)
    code = fields.String(required=True, validate=_SHORT)


class _Claims(Schema):
    subject_name = fields.String(validate=_SHORT)
    subject_organization = fields.String(validate=_SHORT)
    subject_organization_id = fields.String(validate=_SHORT)
    subject_role = fields.List(fields.Nested(_Coding), validate=validate.Length(max=8))
    purpose_of_use = fields.List(fields.Nested(_Coding), validate=validate.Length(equal=1))
    home_community_id = fields.String(validate=_SHORT)
    national_provider_identifier = fields.String(validate=_SHORT)
    person_id = fields.String(validate=_SHORT)
    reason = fields.String(validate=validate.Length(min=10, max=1_000))
    secret_connection = fields.Boolean()


_SCHEMA = _Claims()
_FIELDS = tuple(_SCHEMA.fields)


@dataclass(frozen=True, slots=True)
class Claims:
    """What was claimed; ``stated`` are IUA's members as they were given."""

    mode: Mode = "normal"
    reason: str = ""
    secret: bool = False
    stated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def person_id(self) -> str | None:
        """The patient whose record it is about, ``system|value``."""
        found: str | None = self.stated.get("person_id")
        return found


NO_CLAIMS = Claims()


def parse_claims(form: Mapping[str, str]) -> Claims:
    """Return the claims of a token request; raises Authlib's ``InvalidRequestError`` naming what is wrong."""
    given = {**_object(form.get("claims", "")), **{name: form[name] for name in _FIELDS if name in form}}
    if not given:
        return NO_CLAIMS
    for name in ("purpose_of_use", "subject_role"):
        if isinstance(given.get(name), str):
            given[name] = [_coding(one) for one in given[name].split(",")]
    try:
        known: dict[str, Any] = _SCHEMA.load(given)
    except ValidationError as error:
        problems = error.messages if isinstance(error.messages, dict) else {}
        names = [str(name) for name in problems if name in _FIELDS]
        raise InvalidRequestError(f"These claims cannot be read: {', '.join(names) or 'unknown ones'}.") from None
    return _to_claims(known)


def check_registered(claims: Claims, client: Client) -> None:
    """Raise ``InvalidRequestError`` when a backend states what it is not registered for."""
    if claims.mode != "normal" and claims.mode not in client.purposes:
        raise InvalidRequestError("The client is not registered for this purpose_of_use.")
    if claims.secret and not client.secret_connections:
        raise InvalidRequestError("The client is not registered for a secret_connection.")
    organization = claims.stated.get("subject_organization_id")
    if organization is not None and organization not in client.organization_identifiers:
        raise InvalidRequestError("subject_organization_id is not that of the client's organization.")


def purpose_coding(mode: str) -> list[dict[str, str]]:
    """Return ``purpose_of_use`` as IUA writes it."""
    return [{"system": PURPOSES, "code": mode}]


def _to_claims(known: dict[str, Any]) -> Claims:
    reason, secret = known.pop("reason", ""), known.pop("secret_connection", False)
    purpose = known.pop("purpose_of_use", purpose_coding("normal"))[0]
    if purpose["code"] not in MODES or purpose.get("system", PURPOSES) != PURPOSES:
        raise InvalidRequestError(f"purpose_of_use is one of {', '.join(MODES)} of {PURPOSES}.")
    mode = cast(Literal["normal", "bris_de_glace", "centre_15"], purpose["code"])
    if mode == "bris_de_glace" and not reason.strip():
        raise InvalidRequestError("bris_de_glace needs a reason of at least 10 characters.")
    return Claims(mode, reason, secret, known)


def _object(text: str) -> dict[str, Any]:
    """Return the members of the field ``claims``: IUA's own, or within ``extensions.ihe_iua`` as in a token."""
    if not text:
        return {}
    try:
        read = orjson.loads(text) if len(text) <= _LONGEST else None
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise InvalidRequestError("claims must be a JSON object.")
    extensions = read.pop("extensions", {})
    inner = extensions.get("ihe_iua", {}) if isinstance(extensions, dict) else None
    if not isinstance(inner, dict):
        raise InvalidRequestError("claims.extensions.ihe_iua must be a JSON object.")
    return {**read, **inner}


def _coding(text: str) -> dict[str, str]:
    system, bar, code = text.rpartition("|")
    return {"system": system, "code": code} if bar else {"code": code}
