"""People and their browsers, for tests that sign in: a site whose clock can be turned, and its demo of persons."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher
from werkzeug.test import Client, TestResponse

from fhir_server.accounts.account import Account, Situation
from fhir_server.accounts.accounts import Accounts
from fhir_server.app import Composition, build_app
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.search.stored import NONE_STORED, use_stored_parameters
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod

PASSWORD = "correct horse battery"
HOME = "192.0.2.10"
START = datetime(2126, 5, 4, 12, 0, tzinfo=UTC)
"""Far ahead: the database itself removes what is too old by its own clock."""

QUICK = PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1)
GUARD = {
    "coding": [
        {
            "system": "https://mos.esante.gouv.fr/NOS/TRE_R260-HL7RoleClass/FHIR/TRE-R260-HL7RoleClass",
            "code": "GUARD",
        }
    ]
}


@dataclass
class Clock:
    """A clock that stands until it is turned."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def turn(self, **by: float) -> None:
        """Turn it on by so much."""
        self.now += timedelta(**by)


@dataclass
class Site:
    """A server with people in it."""

    composition: Composition
    clock: Clock
    application: Any = field(init=False)

    def __post_init__(self) -> None:
        self.application = build_app(self.composition)

    @property
    def accounts(self) -> Accounts:
        """The accounts."""
        return self.composition.accounts()

    @property
    def records(self) -> Any:
        """The records of the database."""
        return self.composition.store().records

    def put(self, resource: dict[str, Any]) -> None:
        """Write a resource with the id that it has."""
        ctx = self.composition.open_local_context("test", "en")
        dispatch(ctx, FhirRequest("PUT", (resource["resourceType"], resource["id"]), resource=resource))

    def add(self, login: str, kind: str = "patient", fhir_user: str | None = None, **more: Any) -> Account:
        """Add an account with the password of these tests, and return it."""
        directory, passwords = self.accounts.directory, self.accounts.passwords
        account = Account(
            directory.new_id(),
            kind,  # type: ignore[arg-type]
            "active",
            login.title(),
            self.clock(),
            login=login,
            fhir_user=fhir_user,
            password=passwords.hash(PASSWORD),
        )
        account = replace(account, **more)
        directory.add(account)
        return account

    def add_patient(self, login: str = "dominique", id: str = "p1", **more: Any) -> Account:
        """Add a Patient with an account."""
        self.put(
            {"resourceType": "Patient", "id": id, "name": [{"family": "Dupont", "given": [login.title()]}], **more}
        )
        return self.add(login, fhir_user=f"Patient/{id}")

    def add_totp(self, account: Account) -> pyotp.TOTP:
        """Give an account a one-time password."""
        uri = self.accounts.codes.provision(account).uri
        otp = pyotp.parse_uri(uri)
        assert isinstance(otp, pyotp.TOTP)
        return otp

    def add_doctor(self, login: str = "martin", *situations: Situation) -> Account:
        """Add a Practitioner with an account."""
        self.put({"resourceType": "Practitioner", "id": login, "name": [{"family": login.title()}]})
        return self.add(login, "professional", f"Practitioner/{login}", situations=situations)

    def browser(self, address: str = HOME, **headers: str) -> "Browser":
        """Return a browser that has been nowhere yet, at a network address."""
        return Browser(self, headers, address)


class Browser:
    """A browser: keeps cookies and sends forms with what their page has hidden in them."""

    def __init__(self, site: Site, headers: dict[str, str], address: str) -> None:
        self._client = Client(site.application)
        self._base = site.composition.settings.base_url.removesuffix("/fhir")
        self._headers = headers
        self._from = {"REMOTE_ADDR": address}
        self.page: TestResponse | None = None

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET a page."""
        named = self._named(headers)
        self.page = self._client.get(path, base_url=self._base, headers=named, environ_base=self._from)
        return self.page

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> TestResponse:
        """Send a form with the hidden fields of the page shown."""
        data = {**self.hidden, **(form or {})}
        named = self._named(headers)
        self.page = self._client.post(path, base_url=self._base, data=data, headers=named, environ_base=self._from)
        return self.page

    def send(self, path: str, value: Any, **headers: str) -> TestResponse:
        """Send JSON as the page's script does; the page shown stays."""
        proof = self.text.partition('data-csrf="')[2].partition('"')[0]
        named = {"X-CSRF-Token": proof, **self._named(headers)}
        return self._client.post(path, base_url=self._base, json=value, headers=named, environ_base=self._from)

    def follow(self) -> TestResponse:
        """Follow the redirect shown."""
        assert self.page is not None
        assert self.page.status_code == 303, self.text
        return self.get(self.page.headers["Location"])

    def sign_in(self, login: str, password: str = PASSWORD, next: str = "") -> TestResponse:
        """Fill in the first form."""
        self.get("/auth/login" + (f"?next={next}" if next else ""))
        return self.post("/auth/login", {"login": login, "password": password})

    def type_code(self, code: str) -> TestResponse:
        """Fill in the form of the second step, to which the first has led."""
        self.follow()
        return self.post("/auth/login/totp", {"code": code})

    @property
    def text(self) -> str:
        """The page shown, or the empty text."""
        return self.page.get_data(as_text=True) if self.page is not None else ""

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields of the first form on the page shown."""
        form = self.text.partition("<form")[2].partition("</form>")[0]
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
        return {name: unescape(value) for name, value in found}

    @property
    def problem(self) -> str:
        """The message of the page shown that says what is wrong."""
        found = re.search(
            r'role="alert">(.*?)</', self.text.replace("<strong>This did not work</strong>", ""), re.DOTALL
        )
        return unescape(found[1]).strip() if found else ""

    def cookie(self, name: str) -> str | None:
        """Return the value of a cookie."""
        found = self._client.get_cookie(name, domain=self._base.partition("://")[2].partition(":")[0])
        return found.value if found is not None else None

    def set_cookie(self, name: str, value: str) -> None:
        """Plant a cookie."""
        self._client.set_cookie(name, value, domain=self._base.partition("://")[2].partition(":")[0])

    @property
    def is_signed_in(self) -> bool:
        """Whether the account page opens."""
        return self._client.get("/auth/account", base_url=self._base, headers=self._headers).status_code == 200

    def _named(self, headers: dict[str, str]) -> dict[str, str]:
        return {name.replace("_", "-"): value for name, value in {**self._headers, **headers}.items()}


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def make_site(mongod: EmbeddedMongod, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Site]]:
    """Return a function that makes a site with some settings, on a database that is empty at the test's end."""
    made: list[Site] = []

    def make(**given: Any) -> Site:
        fixed = {
            "mongodb_uri": mongod.uri,
            "database": f"s{os.getpid()}",
            "data_directory": tmp_path,
            "base_url": "http://localhost:8000/fhir",
            "second_factor": "optional",
        }
        made.append(Site(Composition(Settings.from_environment({}, **{**fixed, **given}), None, clock, QUICK), clock))
        return made[-1]

    yield make
    use_stored_parameters(NONE_STORED)
    for site in made:
        site.composition.store().audit_log.close()  # what still waits must not reach the next test
    if made:
        # Emptying is ten times faster than dropping: the indexes stay.
        database = made[0].composition.store().connection.database
        for name in database.list_collection_names():
            database[name].delete_many({})
    for site in made:
        site.composition.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A site on which a second factor is not required."""
    return make_site()
