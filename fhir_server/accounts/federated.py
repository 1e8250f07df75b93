"""Whose account is it? People whom an identity provider has vouched for, recognised once and linked by an alias.

Spec: https://openid.net/specs/openid-connect-core-1_0.html#IDToken (``iss`` and ``sub`` together name somebody)
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fhir_server.accounts.account import Account, Situation
from fhir_server.accounts.directory import AccountDirectory
from fhir_server.accounts.identity_pivot import find_patient, parse_pivot
from fhir_server.accounts.professions import Professional
from fhir_server.accounts.reading import to_name
from fhir_server.accounts.registering import register_practitioner
from fhir_server.context import RequestContext
from fhir_server.errors import Conflict, FhirError
from fhir_server.storage.store import Store


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody at an identity provider: ``iss`` and ``sub`` of a verified id token."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Recognition:
    """Finds the account of a subject, and makes one for who comes first."""

    directory: AccountDirectory
    store: Store

    def patient(self, subject: Subject, claims: Mapping[str, Any], now: datetime) -> Account | None:
        """Return the patient's account; None when the claims fit nobody, several, or an account that is not theirs."""
        linked = self.directory.find_by_alias(subject.issuer, subject.subject)
        if linked is not None:
            return linked if linked.active else None
        traits = parse_pivot(claims)
        patient = find_patient(self.store, traits) if traits is not None else None
        if patient is None:
            return None
        reference = f"Patient/{patient['id']}"
        made = Account(
            self.directory.new_id(), "patient", "active", to_name(patient, "usual"), now, fhir_user=reference
        )
        return self._linked(made, subject)

    def professional(
        self, ctx: RequestContext, subject: Subject, professional: Professional, now: datetime
    ) -> Account | None:
        """Return the professional's account, with the situations they have now; None when it cannot be theirs."""
        try:
            practitioner = register_practitioner(ctx, professional)
        except FhirError:
            return None
        account = self.directory.find_by_alias(subject.issuer, subject.subject)
        if account is None:
            made = Account(
                self.directory.new_id(),
                "professional",
                "active",
                professional.name,
                now,
                fhir_user=practitioner,
                identifiers=professional.identifiers,
            )
            account = self._linked(made, subject)
        if account is None or not account.active or account.fhir_user != practitioner:
            return None
        told = _told(account, professional)
        self.directory.set_situations(account.id, told, professional.name or account.name)
        if {each.practitioner_role for each in account.situations} - {each.practitioner_role for each in told}:
            # They no longer practise somewhere: what was issued to them there, and with it all else, ends.
            self.directory.end_tokens(account.id)
        return self.directory.find(account.id)

    def _linked(self, made: Account, subject: Subject) -> Account | None:
        """Return the account of the same person, new or known, with the subject linked to it."""
        with suppress(Conflict):  # the person has one already, perhaps made by themselves a moment ago
            self.directory.add(made)
        account = self.directory.find_by_fhir_user(str(made.fhir_user))
        if account is None or account.kind != made.kind or not account.active:
            return None
        return account if self.directory.link(account, subject.issuer, subject.subject) else None


def _told(account: Account, professional: Professional) -> list[Situation]:
    """Return the situations that the provider tells, with the resources that stand for those known before."""
    known = {each.id: each for each in account.situations}
    return [
        replace(each, practitioner_role=known[each.id].practitioner_role, organization=known[each.id].organization)
        if each.id in known
        else each
        for each in professional.situations
    ]
