"""Signing in, page by page: password, second step, practice situation; and signing out.

Every form carries a proof that it was made for this browser and session; every answer to a wrong one is the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, jsonify, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from werkzeug.datastructures import MultiDict

from fhir_server.accounts.account import Account, Situation
from fhir_server.accounts.accounts import knows_security_keys
from fhir_server.accounts.professions import PROFESSIONS
from fhir_server.accounts.sessions import Session
from fhir_server.accounts.sign_in import Attempt
from fhir_server.errors import FhirError
from fhir_server.smart.login.browser import Browser, own_path
from fhir_server.smart.login.federation.exchange import Exchange
from fhir_server.smart.login.federation.providers import ProviderUnavailable
from fhir_server.smart.login.pages import Desk, say, to_wait

_LONGEST_FIELD = 1_024


class PasswordForm(Schema):
    """What the first form sends."""

    class Meta:
        unknown = EXCLUDE

    csrf = fields.String(required=True, validate=validate.Length(max=_LONGEST_FIELD))
    login = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))
    password = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))
    next = fields.String(load_default="")


class CodeForm(Schema):
    """What a form with a code sends."""

    class Meta:
        unknown = EXCLUDE

    csrf = fields.String(required=True, validate=validate.Length(max=_LONGEST_FIELD))
    code = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))
    next = fields.String(load_default="")


class SituationForm(Schema):
    """What the choice of a situation sends."""

    class Meta:
        unknown = EXCLUDE

    csrf = fields.String(required=True, validate=validate.Length(max=_LONGEST_FIELD))
    situation = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))
    next = fields.String(load_default="")


def read_form(schema: Schema, form: MultiDict[str, str]) -> dict[str, Any] | None:
    """Return a form's fields, None when they are not what the form has."""
    try:
        return dict(schema.load(form.to_dict()))
    except ValidationError:
        return None


def read_answer(body: bytes) -> dict[str, Any] | None:
    """Return what a script of ours has sent, None for what is no JSON object, or has half a character in it."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


@dataclass(frozen=True, slots=True)
class SignInPages:
    """The handlers; each returns a page or a redirect. ``providers`` are the names of those that are set up."""

    desk: Desk
    providers: frozenset[str]
    open_exchanges: Callable[[], Mapping[str, Exchange]]

    def install(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        add = blueprint.add_url_rule
        add("/login", "login", self.login, methods=["GET", "POST"])
        add("/login/totp", "totp", self.totp, methods=["GET", "POST"])
        add("/login/webauthn/options", "webauthn_options", self.webauthn_options, methods=["POST"])
        add("/login/webauthn", "webauthn", self.webauthn, methods=["POST"])
        add("/login/situation", "situation", self.situation, methods=["GET", "POST"])
        add("/logout", "logout", self.logout, methods=["GET", "POST"])

    def login(self) -> Response:
        """Show the ways to sign in, or examine a login name and password."""
        browser = self.desk.browser()
        if request.method == "GET":
            return self._login_page(browser, notice=self._notice(browser))
        form = read_form(PasswordForm(), request.form)
        if form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self._login_page(browser, status=403, problem=say(browser, "expired"))
        accounts = self.desk.accounts
        attempt = accounts.sign_in.with_password(
            form["login"], form["password"], browser.subscriber, browser.agent, browser.address
        )
        if not attempt.token:
            return self._refused(browser, attempt)
        self.desk.end_former(browser)
        return self.go_on(browser, attempt, own_path(form["next"]))

    def totp(self) -> Response:
        """Ask for, or examine, the code of a second step."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "second-factor")
        if found is None:
            return self.desk.go(browser, "/auth/login")
        session, account = found
        if request.method == "GET":
            return self._code_page(browser, account)
        form = read_form(CodeForm(), request.form)
        if form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self._code_page(browser, account, status=403, problem=say(browser, "expired"))
        attempt = self.desk.accounts.sign_in.with_code(session, account, form["code"], browser.address)
        if attempt.token:
            return self.go_on(browser, attempt, own_path(form["next"]))
        problem, status = self._problem(browser, attempt, "wrong-code")
        response = self._code_page(browser, account, status=status, problem=problem)
        return _retry_after(response, attempt)

    def webauthn_options(self) -> Response:
        """Return, as JSON, what the browser needs to ask a security key."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "second-factor")
        if found is None or not self.desk.is_ours(browser, request.headers.get("X-CSRF-Token")):
            return self._json(browser, {"problem": say(browser, "expired")}, 403)
        return self._json(browser, self.desk.accounts.keys.begin_authentication(*found))

    def webauthn(self) -> Response:
        """Examine what a security key has answered; returns, as JSON, where to go on."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "second-factor")
        answer = read_answer(request.get_data())
        ours = self.desk.is_ours(browser, request.headers.get("X-CSRF-Token"))
        if found is None or not ours or answer is None:
            return self._json(browser, {"problem": say(browser, "expired")}, 403)
        attempt = self.desk.accounts.sign_in.with_key(*found, answer, browser.address)
        if not attempt.token:
            problem, status = self._problem(browser, attempt, "key-failed")
            return _retry_after(self._json(browser, {"problem": problem}, status), attempt)
        way = self.go_on(browser, attempt, own_path(request.args.get("next", "")))
        response = self._json(browser, {"next": way.headers["Location"]})
        for cookie in way.headers.getlist("Set-Cookie"):
            response.headers.add("Set-Cookie", cookie)
        return response

    def situation(self) -> Response:
        """Ask a professional in which situation they act, and sign them in with it."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "situation")
        if found is None:
            return self.desk.go(browser, "/auth/login")
        session, account = found
        if request.method == "GET":
            return self._situation_page(browser, account)
        form = read_form(SituationForm(), request.form)
        if form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self._situation_page(browser, account, status=403, problem=say(browser, "expired"))
        attempt = self._choose(browser, session, account, form["situation"])
        if attempt is None:
            return self.desk.page(browser, "refused", status=403, reason="refused-professional")
        return self.desk.proceed(browser, attempt, own_path(form["next"]))

    def logout(self) -> Response:
        """Ask whether to sign out, or do it; who came through a provider goes on to sign out there."""
        browser = self.desk.browser()
        if request.method == "GET":
            return self.desk.page(browser, "logout")
        if not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        elsewhere = self._elsewhere(browser)
        self.desk.end_former(browser)
        if elsewhere is None:
            response = self.desk.go(browser, "/auth/login?signed-out=1")
        else:
            # Not a redirect: browsers would apply this page's form-action to it, and to all that follow.
            response = self.desk.page(browser, "signed_out", elsewhere=elsewhere)
        browser.cookies.drop(response, browser.cookies.session)
        return response

    def _elsewhere(self, browser: Browser) -> str | None:
        """Return where the browser's session ends at its provider; None if there is none, or it does not answer."""
        found = self.desk.session(browser, "situation", "complete")
        exchange = self.open_exchanges().get(found[0].provider) if found is not None else None
        if found is None or exchange is None or found[0].id_token is None:
            return None
        accounts, account = self.desk.accounts, found[1]
        try:
            id_token = accounts.sealer.open(found[0].id_token, account.id).decode()
            return exchange.leave(id_token, browser.visit, accounts.clock())
        except ProviderUnavailable:
            return None

    def go_on(self, browser: Browser, attempt: Attempt, next: str) -> Response:
        """Return the way on; a professional of one situation alone has nothing to choose."""
        found = self.desk.accounts.find_session(attempt.token) if attempt.step == "situation" else None
        if found is None or len(found[1].situations) != 1:
            return self.desk.proceed(browser, attempt, next)
        session, account = found
        chosen = self._choose(browser, session, account, account.situations[0].id)
        if chosen is None:
            return self.desk.page(browser, "refused", status=403, reason="refused-professional")
        return self.desk.proceed(browser, chosen, next)

    def _choose(self, browser: Browser, session: Session, account: Account, id: str) -> Attempt | None:
        accounts = self.desk.accounts
        try:
            chosen = accounts.choose_situation(self.desk.open_context(browser.language), account, id)
        except FhirError:
            return None
        if chosen is None:
            return None
        return accounts.sign_in.advance(session, account, "complete", situation=chosen.id, address=browser.address)

    def _login_page(self, browser: Browser, **values: Any) -> Response:
        return self.desk.page(browser, "login", providers=self.providers, way=self._way(), **values)

    def _way(self) -> dict[str, str]:
        """Return what goes along to an identity provider."""
        way = {"next": own_path(request.values.get("next", ""))}
        return {**way, "fresh": "1"} if "fresh" in request.args else way

    def _code_page(self, browser: Browser, account: Account, **values: Any) -> Response:
        keys = bool(account.security_keys) and knows_security_keys(self.desk.settings.base_url)
        return self.desk.page(
            browser, "second_factor", codes=account.totp or account.recovery_codes, keys=keys, **values
        )

    def _situation_page(self, browser: Browser, account: Account, **values: Any) -> Response:
        choices = [(each.id, _describe(each, browser)) for each in account.situations]
        return self.desk.page(browser, "situation", choices=choices, **values)

    def _refused(self, browser: Browser, attempt: Attempt) -> Response:
        problem, status = self._problem(browser, attempt, "wrong-password")
        return _retry_after(self._login_page(browser, status=status, problem=problem), attempt)

    def _problem(self, browser: Browser, attempt: Attempt, name: str) -> tuple[str, int]:
        if attempt.wait:
            return say(browser, "too-many", wait=to_wait(browser, attempt.wait)), 429
        return say(browser, name), 403

    def _notice(self, browser: Browser) -> str:
        if "signed-out" in request.args:
            return say(browser, "signed-out")
        return say(browser, "again-for-change") if "again" in request.args else ""

    def _json(self, browser: Browser, value: Mapping[str, Any], status: int = 200) -> Response:
        response = jsonify(value)
        response.status_code = status
        return self.desk.protect(browser, response)


def _describe(situation: Situation, browser: Browser) -> tuple[str, str]:
    """Return profession and structure in words."""
    names = PROFESSIONS.get(situation.profession, (situation.profession,) * 2)
    structure = situation.organization_name or say(browser, "no-structure")
    return names[browser.language == "fr"], structure


def _retry_after(response: Response, attempt: Attempt) -> Response:
    if attempt.wait:
        response.headers["Retry-After"] = str(attempt.wait)
    return response
