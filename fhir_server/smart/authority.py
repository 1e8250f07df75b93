"""Whose authority a token carries: a client's own, or a person's through a client, as far as they consented.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import Scope, ScopeContext, expand_transactions, parse_scopes
from fhir_server.smart.clients import Client
from fhir_server.smart.consents import Consent
from fhir_server.smart.iua import NO_CLAIMS, Claims
from fhir_server.smart.people import Account, Person

_NOT_STORED = ("scopes", "token")
_TUPLES = ("identifiers", "organization_identifiers", "roles")


@dataclass(frozen=True, slots=True)
class Authority:
    """What a token is made from; ``consent`` and ``account`` are None for a backend that acts alone.

    ``about`` is the id of the patient whom the claims name (``person_id``), when they name one.
    """

    client: Client
    consent: Consent | None = None
    account: Account | None = None
    claims: Claims = NO_CLAIMS
    about: str | None = None

    @property
    def patient(self) -> str | None:
        """The id of the patient in context."""
        return self.about or (self.consent.patient if self.consent is not None else None)

    @property
    def context(self) -> dict[str, Any]:
        """SMART's launch context: what the token response and introspection add."""
        context = dict(self.consent.context) if self.consent is not None else {}
        return {**context, "patient": self.about} if self.about is not None else context

    @property
    def person(self) -> Person | None:
        """Whom the account acts for in this consent; None for a professional, or when it may not (any more)."""
        persons = self.account.persons if self.account is not None else ()
        return next((one for one in persons if one.patient == self.patient), None)

    @property
    def holds(self) -> bool:
        """Whether the account may still open the record that the consent is about."""
        return self.account is None or self.account.kind != "patient" or self.person is not None

    @property
    def fhir_user(self) -> str | None:
        """``Type/id`` of who acts: a parent as the child's RelatedPerson."""
        person = self.person
        if person is not None and person.related_person is not None:
            return person.related_person
        return self.account.fhir_user if self.account is not None else None

    @property
    def subject(self) -> str:
        """The ``sub`` of tokens: opaque, one for each account, the same for all clients."""
        return self.client.id if self.account is None else _opaque("sub", self.account.id)

    def to_caller(self) -> Caller:
        """Return who the requests are from, without scopes and token."""
        return self._backend() if self.account is None else self._user(self.account)

    def _backend(self) -> Caller:
        client, claims = self.client, self.claims
        return Caller(
            key=_opaque("client", client.id),
            kind="system",
            client_id=client.id,
            client_name=client.name,
            patient=self.patient,
            organization=client.organization,
            organization_identifiers=client.organization_identifiers,
            mode=claims.mode,
            reason=claims.reason,
            secret=claims.secret,
            trusted="trusted" in client.roles,
            roles=_rights(client),
        )

    def _user(self, account: Account) -> Caller:
        person, consent = self.person, self.consent
        represents = person is not None and person.related_person is not None
        caller = Caller(
            key=_opaque("user", self.client.id, account.id, self.patient or ""),
            kind="representative" if represents else account.kind,
            client_id=self.client.id,
            client_name=self.client.name,
            user=self.fhir_user,
            user_name=account.user_name,
            patient=self.patient,
            encounter=consent.context.get("encounter") if consent else None,
            roles=tuple(account.roles) if account.kind == "operator" else (),
        )
        return self._with_profession(caller, account)

    def _with_profession(self, caller: Caller, account: Account) -> Caller:
        facts = account.professional
        if account.kind != "professional" or facts is None:
            return caller
        return replace(
            caller,
            identifiers=facts.identifiers,
            organization=facts.organization,
            organization_identifiers=facts.organization_identifiers,
            profession=facts.profession,
            specialty=facts.specialty,
            sector=facts.sector,
            regulation=facts.regulation,
            mode=self.claims.mode,
            reason=self.claims.reason,
            secret=self.claims.secret,
        )


def to_document(caller: Caller) -> dict[str, Any]:
    """Return a caller as the database keeps it."""
    names = (each.name for each in fields(caller) if each.init and each.name not in _NOT_STORED)
    return {name: getattr(caller, name) for name in names}


def to_caller(document: Mapping[str, Any], scope: str, token: str) -> Caller:
    """Return the caller of ``to_document`` again, with the scopes and digest of the token."""
    values: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in document.items()}
    return Caller(**values, scopes=clinical_scopes(scope, document["kind"]), token=token)


def clinical_scopes(scope: str, kind: str) -> tuple[Scope, ...]:
    """Return what the words of a scope allow on resources, transactions that IUA names included."""
    understood = parse_scopes(scope)
    if not understood.plain:
        return understood.scopes
    context: ScopeContext = "system" if kind == "system" else "user" if kind == "professional" else "patient"
    return (*understood.scopes, *expand_transactions(understood.plain, context))


def _rights(client: Client) -> tuple[str, ...]:
    return tuple(role for role in client.roles if role == "auditor")


def _opaque(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
