"""The pages that people see here: the consent, and what went wrong; nothing on them comes from anywhere else.

Spec: https://www.rfc-editor.org/rfc/rfc9700#section-4.16 (clickjacking), https://www.w3.org/TR/CSP3/
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, render_template

from fhir_server.errors import Text
from fhir_server.smart.clients import Client
from fhir_server.smart.encounters import Encounter
from fhir_server.smart.people import Person, Session
from fhir_server.smart.redirects import origin_of
from fhir_server.smart.scope_texts import SILENT, describe
from fhir_server.smart.subjects import Subject
from fhir_server.smart.texts import PAGE
from fhir_server.smart.tokens import ONLINE_HOURS

_DAY = 86_400
Given = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """What the page of consent shows; ``minutes`` of an access token, ``days`` that it may be renewed.

    ``subject`` is the patient where there is no choice among ``persons``.
    """

    action: str
    form_token: str
    client: Client
    session: Session
    redirect_uri: str
    words: tuple[str, ...]
    persons: tuple[Person, ...]
    asks_patient: bool
    minutes: int
    days: int
    problem: Text | None = None
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class Pages:
    """Renders pages under the service's name."""

    brand: str
    random_bytes: Callable[[int], bytes]

    def consent(self, page: ConsentPage, language: str) -> Response:
        """Return the page of consent; its form leads back here, and from here to the app's address."""
        values = {
            "action": page.action,
            "form_token": page.form_token,
            "client": page.client,
            "user_name": page.session.account.user_name,
            "address": origin_of(page.redirect_uri),
            "persons": page.persons,
            "asks_patient": page.asks_patient,
            "subject": page.subject,
            "rights": [(word, describe(word).in_language(language)) for word in page.words if word not in SILENT],
            "durations": _durations(page, language),
            "problem": page.problem.in_language(language) if page.problem is not None else "",
        }
        return self._render("consent/consent.html", 200, language, f" {origin_of(page.redirect_uri)}", **values)

    def encounter(self, page: ConsentPage, encounters: Sequence[Encounter], given: Given, language: str) -> Response:
        """Return the page that asks for the encounter; ``given`` are the fields that the page before has sent."""
        values = {
            "action": page.action,
            "form_token": page.form_token,
            "client": page.client,
            "encounters": encounters,
            "given": given,
        }
        return self._render("consent/encounter.html", 200, language, f" {origin_of(page.redirect_uri)}", **values)

    def error(self, reason: str, language: str, status: int = 400) -> Response:
        """Return a page for what cannot be told to an app, because it is not known which one it is."""
        return self._render("consent/error.html", status, language, "", reason=reason)

    def _render(self, template: str, status: int, language: str, leads_to: str, **values: Any) -> Response:
        nonce = base64.b64encode(self.random_bytes(16)).decode()

        def say(key: str, **given: Any) -> str:
            return PAGE[key].in_language(language).format(**given)

        text = render_template(template, language=language, brand=self.brand, nonce=nonce, say=say, **values)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'{leads_to}; "
            "frame-ancestors 'none'; base-uri 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Content-Language": language,
        }
        return Response(text, status, headers, content_type="text/html; charset=utf-8")


def _durations(page: ConsentPage, language: str) -> list[str]:
    short = {"minutes": page.minutes, "hours": ONLINE_HOURS, "days": page.days}
    keys = ["for_minutes"]
    if "offline_access" in page.words:
        keys = ["until_revoked", "if_offline"]
    elif "online_access" in page.words:
        keys = ["for_today"]
    return [PAGE[key].in_language(language).format(**short) for key in keys]


def days_of(seconds: float) -> int:
    """Return whole days, one at least."""
    return max(1, round(seconds / _DAY))
