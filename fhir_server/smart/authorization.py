"""``/auth/authorize``: an app asks, a person logs in, reads and decides, the app gets a code.

    GET or POST /auth/authorize          checked, kept, 303 to
    GET         /auth/authorize/<word>   the login page if needed, else the page of consent
    POST        /auth/authorize/<word>   the decision, 302 to the app

Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code,
https://www.rfc-editor.org/rfc/rfc9207 (``iss``), https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import quote

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core.errors import ConsentRequiredError, LoginRequiredError
from flask import Response
from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_cookie

from fhir_server.audit.codes import MINOR_FAILURE
from fhir_server.audit.security_events import SecurityEvent
from fhir_server.errors import Text
from fhir_server.smart.addresses import client_address
from fhir_server.smart.decisions import Decision
from fhir_server.smart.edge import Edge, Environ
from fhir_server.smart.encounters import Choice
from fhir_server.smart.login.browser import LANGUAGES, chosen_language
from fhir_server.smart.pages import Pages
from fhir_server.smart.pending import Pending, PendingRequests
from fhir_server.smart.people import Session
from fhir_server.smart.questions import Question, Questions
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.server import SmartServer
from fhir_server.smart.telling import to_account_actor, to_client_actor
from fhir_server.smart.texts import FORGED, GONE

PATH = "/auth/authorize"
_KNOWN = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "aud",
    "launch",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "prompt",
    "max_age",
    "ui_locales",
    "response_mode",
    "request",
    "request_uri",
)
_LONGEST = 16_384
_REPEATED = ("patient", "identifier", "scope")
"""Fields that the page of encounters sends once more: they are examined as if they had never been seen."""
_WORDS = re.compile(r"[A-Za-z_ ]{0,100}")


class Issuer(IssuerParameter):
    """Says in every answer by redirect who answers, so that an app cannot take one server for another."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        """Return the server's name."""
        return self._issuer


@dataclass(frozen=True)
class Authorization:
    """The authorization endpoint."""

    server: SmartServer
    edge: Edge
    pages: Pages
    pending: PendingRequests
    questions: Questions

    def begin(self, environ: Environ, method: str, parameters: MultiDict[str, str]) -> Response:
        """Return where to go with a request that an app sends: to its page, or back to the app with an error."""
        request = self._request(environ, method, parameters)
        try:
            request.check_singles()
            if sum(len(value) for value in parameters.values()) > _LONGEST:
                raise InvalidRequestError("The request is too long.")
            if not _WORDS.fullmatch(parameters.get("response_type", "")):
                raise InvalidRequestError("response_type is code.")
            session = self.server.parts.people.current_session(environ)
            self.server.get_consent_grant(request, session)
            self._check_silent(request, session)
        except OAuth2Error as error:
            return self._refused(environ, request, error)
        kept = {name: parameters[name] for name in _KNOWN if name in parameters}
        return _see_other(f"{PATH}/{self.pending.insert(kept)}")

    def show(self, environ: Environ, word: str) -> Response:
        """Return the page of consent, or the way to the login page."""
        pending = self.pending.find(word)
        if pending is None:
            return self._gone(environ, GONE)
        session = self.server.parts.people.current_session(environ)
        fresh = session is not None and not self._is_recent(session, pending)
        if session is None or fresh:
            again = "&fresh=1" if fresh else ""
            return _see_other(f"/auth/login?next={quote(f'{PATH}/{word}', safe='')}{again}")
        return self._ask(environ, word, pending, session, None)

    def decide(self, environ: Environ, word: str, form: MultiDict[str, str]) -> Response:
        """Return the way back to the app, with a code or a refusal."""
        pending, session = self.pending.find(word), self.server.parts.people.current_session(environ)
        if pending is None:
            return self._gone(environ, GONE)
        if session is None or not pending.is_answered_by(session.id, form.get("form_token", "")):
            return self._gone(environ, FORGED, 403)
        if not self._is_recent(session, pending):
            return self.show(environ, word)
        return self._answer(environ, word, pending, session, form)

    def _ask(self, environ: Environ, word: str, pending: Pending, session: Session, problem: Text | None) -> Response:
        request = self._kept(environ, pending)
        try:
            grant = self.server.get_consent_grant(request, session)
            question = self.questions.build(request, session)
        except OAuth2Error as error:
            return self._refused(environ, request, error)
        self.pending.show_to(pending, session.id)
        page = self.questions.to_page(question, f"{PATH}/{word}", pending.form_token, grant.redirect_uri, problem)
        page = replace(page, subject=self.questions.find_subject(request, question))
        return self.pages.consent(page, self._language(environ, pending.parameters))

    def _answer(
        self, environ: Environ, word: str, pending: Pending, session: Session, form: MultiDict[str, str]
    ) -> Response:
        request = self._kept(environ, pending)
        try:
            grant = self.server.get_consent_grant(request, session)
            question = self.questions.build(request, session)
        except OAuth2Error as error:
            return self._refused(environ, request, error)
        decision = self._decided(environ, request, pending, question, form)
        if isinstance(decision, Text):
            return self._ask(environ, word, pending, session, decision)
        if isinstance(decision, Choice):
            page = self.questions.to_page(question, f"{PATH}/{word}", pending.form_token, grant.redirect_uri, None)
            given = [(name, value) for name in _REPEATED for value in form.getlist(name)]
            return self.pages.encounter(page, decision.encounters, given, self._language(environ, pending.parameters))
        if not self.pending.use_up(pending):
            return self._gone(environ, GONE)
        if decision is None:
            by, client = to_account_actor(session.account, request.address), to_client_actor(question.client)
            refused = SecurityEvent("authorization", by, about=client, outcome=MINOR_FAILURE, problem="access_denied")
            self.server.parts.log.tell(refused)
        response: Response = self.server.create_authorization_response(request, grant_user=decision, grant=grant)
        return self._signed(request, response)

    def _decided(
        self, environ: Environ, request: SmartRequest, pending: Pending, question: Question, form: MultiDict[str, str]
    ) -> Decision | Text | Choice | None:
        """Return a yes, what is wrong with it, the encounters to choose from, or None for a no."""
        if form.get("decision") != "allow":
            return None
        decision = self.questions.decide(question, form)
        if isinstance(decision, Text):
            return decision
        language = self._language(environ, pending.parameters)
        return self.questions.encounters.settle(request, decision, form, language)

    def _check_silent(self, request: SmartRequest, session: Session | None) -> None:
        """Refuse what shall be answered without a page: somebody must read it."""
        if request.payload.data.get("prompt") == "none":
            error = LoginRequiredError if session is None else ConsentRequiredError
            raise error(redirect_uri=request.payload.redirect_uri)

    def _is_recent(self, session: Session, pending: Pending) -> bool:
        """Say whether the login is as new as the app wants it."""
        prompts = pending.parameters.get("prompt", "").split(" ")
        if {"login", "select_account"} & set(prompts) and session.auth_time < pending.created:
            return False
        age = pending.parameters.get("max_age")
        return age is None or session.auth_time + timedelta(seconds=int(age)) >= pending.created

    def _request(self, environ: Environ, method: str, parameters: MultiDict[str, str]) -> SmartRequest:
        address = client_address(environ, self.server.parts.settings.trusted_proxies)
        return SmartRequest(method, PATH, self.edge.base_url(environ), {}, parameters, address)

    def _kept(self, environ: Environ, pending: Pending) -> SmartRequest:
        return self._request(environ, "GET", MultiDict(pending.parameters))

    def _refused(self, environ: Environ, request: SmartRequest, error: OAuth2Error) -> Response:
        """Return the error to the app when its address is sure, else show it to the person."""
        if error.redirect_uri is None:
            reason = f"{error.error}: {error.get_error_description()}"
            return self.pages.error(reason, self._language(environ, request.payload.data))
        error.state = request.payload.state
        response: Response = self.server.handle_error_response(request, error)
        return self._signed(request, response)

    def _signed(self, request: SmartRequest, response: Response) -> Response:
        Issuer(request.issuer).add_issuer_parameter(self.server, response)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _gone(self, environ: Environ, text: Text, status: int = 400) -> Response:
        language = self._language(environ, {})
        return self.pages.error(text.in_language(language), language, status)

    def _language(self, environ: Environ, parameters: Mapping[str, str]) -> str:
        """Return the language that the person has chosen, else the first of the request's that the pages have.

        Else it is the browser's.
        """
        chosen = chosen_language(parse_cookie(environ))
        if chosen is not None:
            return chosen
        for tag in parameters.get("ui_locales", "").split(" "):
            if tag.partition("-")[0].lower() in LANGUAGES:
                return tag.partition("-")[0].lower()
        return self.edge.language(environ)


def _see_other(path: str) -> Response:
    return Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})
