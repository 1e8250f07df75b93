"""One's own account: second steps, sign-ins, apps and password, looked after by its owner.

Who wants to change how they sign in must have signed in a short while ago.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request
from marshmallow import EXCLUDE, Schema, fields, validate

from fhir_server.access.periods import PARIS
from fhir_server.accounts.account import Account, to_actor
from fhir_server.accounts.accounts import knows_security_keys
from fhir_server.accounts.passwords import check_password
from fhir_server.accounts.sessions import Session
from fhir_server.errors import FhirError
from fhir_server.smart.login.app_pages import Apps
from fhir_server.smart.login.browser import Browser, own_path
from fhir_server.smart.login.pages import Desk, say, to_wait
from fhir_server.smart.login.qr import to_svg
from fhir_server.smart.login.sign_in_pages import CodeForm, SignInPages, read_answer, read_form

FRESH = timedelta(minutes=15)
"""How long after a sign-in its means may be changed."""

_LONGEST_FIELD = 1_024


class PasswordChangeForm(Schema):
    """What the form for another password sends."""

    class Meta:
        unknown = EXCLUDE

    csrf = fields.String(required=True, validate=validate.Length(max=_LONGEST_FIELD))
    present = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))
    new = fields.String(load_default="", validate=validate.Length(max=_LONGEST_FIELD))


@dataclass(frozen=True, slots=True)
class AccountPages:
    """The handlers; ``sign_in`` goes on with a sign-in that has waited for a second step to be set up."""

    desk: Desk
    sign_in: SignInPages
    apps: Apps

    def install(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        add = blueprint.add_url_rule
        add("/account", "account", self.account, methods=["GET"])
        add("/account/session", "end_session", self.end_session, methods=["POST"])
        add("/account/password", "password", self.password, methods=["POST"])
        add("/account/security-key", "remove_key", self.remove_key, methods=["POST"])
        add("/account/recovery-codes", "recovery_codes", self.recovery_codes, methods=["POST"])
        add("/login/enrol", "enrol", self.enrol, methods=["GET", "POST"])
        add("/login/enrol/webauthn/options", "enrol_options", self.enrol_options, methods=["POST"])
        add("/login/enrol/webauthn", "enrol_key", self.enrol_key, methods=["POST"])
        add("/login/enrol/done", "enrol_done", self.enrol_done, methods=["POST"])

    def account(self) -> Response:
        """Show the account."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None:
            return self.desk.go(browser, "/auth/login")
        return self._account_page(browser, *found)

    def end_session(self) -> Response:
        """End one of the account's sign-ins, or all others."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None or not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        session, account = found
        wanted, accounts = request.form.get("session", ""), self.desk.accounts
        for each in accounts.sessions.of_account(account.id, accounts.clock()):
            if each.id == wanted or (wanted == "others" and each.id != session.id):
                accounts.sign_in.sign_out(each, account, to_actor(account, browser.address))
        if wanted == "others":
            accounts.sessions.end_all(account.id, but=session.id)  # those too that are still under way
        return self.desk.go(browser, "/auth/account")

    def password(self) -> Response:
        """Change the password; whoever else is signed in with the old one no longer is."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        form = read_form(PasswordChangeForm(), request.form)
        if found is None or form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self.desk.expired(browser)
        session, account = found
        accounts = self.desk.accounts
        wait = accounts.sign_in.throttles.factor.admit(account.id, accounts.clock())
        if wait:
            return self._account_page(
                browser, session, account, problem=say(browser, "too-many", wait=to_wait(browser, wait)), status=429
            )
        if not accounts.passwords.verify(account.password, form["present"]):
            return self._account_page(browser, session, account, problem=say(browser, "wrong-password"), status=403)
        try:
            check_password(form["new"], account.login or "")
        except FhirError as error:
            problem = error.issues[0].text.in_language(browser.language)
            return self._account_page(browser, session, account, problem=problem, status=422)
        accounts.sign_in.throttles.factor.forgive(account.id)
        by = to_actor(account, browser.address)
        accounts.directory.set_password(account.id, accounts.passwords.hash(form["new"]), accounts.clock(), by)
        attempt = accounts.sign_in.advance(session, account, "complete", address=browser.address)
        return self.desk.proceed(browser, attempt, "/auth/account?changed=1")

    def remove_key(self) -> Response:
        """Forget one of the account's security keys; other sign-ins end."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None or not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        session, account = found
        if not self._is_fresh(session):
            return self.desk.go(browser, "/auth/login?again=1")
        by, key = to_actor(account, browser.address), request.form.get("key", "")
        if not self.desk.accounts.remove_security_key(account, key, by, session.id):
            problem = say(browser, "key-kept")
            return self._account_page(browser, session, account, problem=problem, status=409)
        return self.desk.go(browser, "/auth/account")

    def recovery_codes(self) -> Response:
        """Make new recovery codes and show them, once."""
        browser = self.desk.browser()
        found = self.desk.session(browser, "complete")
        if found is None or not self.desk.is_ours(browser, request.form.get("csrf")):
            return self.desk.expired(browser)
        session, account = found
        if not self._is_fresh(session) or not account.second_factor:
            return self.desk.go(browser, "/auth/login?again=1")
        codes = self.desk.accounts.codes.renew_recovery_codes(account, browser.address)
        return self.desk.page(browser, "recovery", codes=codes, done="/auth/account")

    def enrol(self) -> Response:
        """Show how to set up a second step, or set up an authenticator app."""
        browser = self.desk.browser()
        found = self._changing(browser)
        if found is None:
            return self.desk.go(browser, "/auth/login?again=1")
        session, account = found
        if request.method == "GET":
            return self._enrol_page(browser, session, account)
        form = read_form(CodeForm(), request.form)
        if form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self._enrol_page(browser, session, account, status=403, problem=say(browser, "expired"))
        accounts = self.desk.accounts
        codes = accounts.codes.enrol(session, account, form["code"], accounts.clock(), browser.address)
        if codes is None:
            return self._enrol_page(browser, session, account, status=403, problem=say(browser, "wrong-code"))
        return self._enrolled(browser, session, account, "otp", codes, own_path(form["next"]))

    def enrol_options(self) -> Response:
        """Return, as JSON, what the browser needs to register a security key."""
        browser = self.desk.browser()
        found = self._changing(browser)
        if found is None or not self.desk.is_ours(browser, request.headers.get("X-CSRF-Token")):
            return self._json(browser, {"problem": say(browser, "expired")}, 403)
        return self._json(browser, self.desk.accounts.keys.begin_registration(*found))

    def enrol_key(self) -> Response:
        """Register the security key that has answered."""
        browser = self.desk.browser()
        found = self._changing(browser)
        answer = read_answer(request.get_data())
        ours = self.desk.is_ours(browser, request.headers.get("X-CSRF-Token"))
        if found is None or not ours or answer is None:
            return self._json(browser, {"problem": say(browser, "expired")}, 403)
        session, account = found
        accounts = self.desk.accounts
        name = answer.get("name")
        label = name if isinstance(name, str) and name.strip() else say(browser, "key")
        if not accounts.keys.register(session, account, answer, label, accounts.clock(), browser.address):
            return self._json(browser, {"problem": say(browser, "key-failed")}, 403)
        return self._json(browser, {"enrolled": True})

    def enrol_done(self) -> Response:
        """Go on after a security key has been registered by the page's script."""
        browser = self.desk.browser()
        found = self._changing(browser)
        form = read_form(CodeForm(), request.form)
        if found is None or form is None or not self.desk.is_ours(browser, form["csrf"]):
            return self.desk.expired(browser)
        session, account = found
        if not account.security_keys:
            return self._enrol_page(browser, session, account, status=403, problem=say(browser, "key-failed"))
        renew = self.desk.accounts.codes.renew_recovery_codes
        codes = () if account.recovery_codes else renew(account, browser.address)
        return self._enrolled(browser, session, account, "hwk", codes, own_path(form["next"]))

    def _enrolled(
        self, browser: Browser, session: Session, account: Account, method: str, codes: Sequence[str], next: str
    ) -> Response:
        """Return the page with the recovery codes; a sign-in that has waited for this goes on."""
        if session.step == "complete":
            done, way = "/auth/account", None
        else:
            sign_in = self.desk.accounts.sign_in
            step = sign_in.after_factors(account)
            attempt = sign_in.advance(session, account, step, amr=(method, "mfa"), address=browser.address)
            way = self.sign_in.go_on(browser, attempt, next)
            done = way.headers.get("Location", "/auth/login")
        response = self.desk.page(browser, "recovery", codes=codes, done=done)
        for cookie in way.headers.getlist("Set-Cookie") if way is not None else ():
            response.headers.add("Set-Cookie", cookie)
        return response

    def _changing(self, browser: Browser) -> tuple[Session, Account] | None:
        """Return who may set up a second step: who has to, or who has signed in a short while ago.

        Who waits here knows the password alone. Once the account has a second step that was not set up by them, they
        must give it like everybody else.
        """
        found = self.desk.session(browser, "enrolment", "complete")
        if found is None or found[1].password is None:
            return None
        session, account = found
        if session.step == "complete":
            return found if self._is_fresh(session) else None
        return None if account.second_factor and not session.enrolled else found

    def _is_fresh(self, session: Session) -> bool:
        return self.desk.accounts.clock() - session.auth_time < FRESH

    def _enrol_page(self, browser: Browser, session: Session, account: Account, **values: Any) -> Response:
        enrolment = None if account.totp else self.desk.accounts.codes.begin(session, account)
        if enrolment is not None:
            values |= {"uri": enrolment.uri, "secret": in_groups(enrolment.secret), "qr": to_svg(enrolment.uri)}
        keys = knows_security_keys(self.desk.settings.base_url)
        return self.desk.page(browser, "enrol", keys=keys, app=enrolment is not None, **values)

    def _account_page(self, browser: Browser, session: Session, account: Account, **values: Any) -> Response:
        accounts = self.desk.accounts
        presence = accounts.find_presence(browser.session)
        if presence is None:
            return self.desk.page(browser, "refused", status=403, reason="no-situation")
        notice = say(browser, "password-changed") if "changed" in request.args else ""
        return self.desk.page(
            browser,
            "account",
            holder=presence.account,
            account=account,
            present=session.id,
            sessions=[
                (each.id, each.agent or say(browser, "unknown-browser"), to_day(each.created, browser))
                for each in accounts.sessions.of_account(account.id, accounts.clock())
            ],
            apps=[(app, to_day(app.created, browser)) for app in self.apps.of_account(account.id)],
            notice=notice,
            **values,
        )

    def _json(self, browser: Browser, value: Mapping[str, Any], status: int = 200) -> Response:
        response = jsonify(value)
        response.status_code = status
        return self.desk.protect(browser, response)


def in_groups(secret: str) -> str:
    """Return a secret in groups of four characters, so that it can be typed."""
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def to_day(moment: datetime, browser: Browser) -> str:
    """Return a moment as a date and time in Paris, as the browser's language writes it."""
    return moment.astimezone(PARIS).strftime("%d/%m/%Y %H:%M" if browser.language == "fr" else "%d %b %Y %H:%M")
