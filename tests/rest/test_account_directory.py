"""Accounts in the database: what is unique stays so, what is gone is gone, whoever comes second is told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_server.accounts.account import Account, Situation
from fhir_server.accounts.accounts import knows_security_keys
from fhir_server.accounts.holders import find_holder
from fhir_server.egress import Fetcher
from fhir_server.errors import Conflict, NotFound
from fhir_server.smart.login.federation.encryption import EncryptionKeys
from fhir_server.smart.login.federation.exchange import Exchange
from fhir_server.smart.login.federation.providers import Directory, providers_of
from fhir_server.smart.login.federation.tokens import Unverified
from fhir_server.storage.records import Records
from tests.rest.federating import Federation
from tests.rest.signing_in import Clock, Site


def test_a_login_name_and_a_person_have_one_account(site: Site) -> None:
    site.add_patient("dominique", "p1")
    with pytest.raises(Conflict, match="already"):
        site.add("dominique", "operator")
    with pytest.raises(Conflict, match="already"):
        site.add("other", fhir_user="Patient/p1")


def test_what_is_not_there_is_not_found(site: Site) -> None:
    directory = site.accounts.directory
    assert directory.find("nobody") is None
    for change in (directory.get, directory.lock, directory.unlock, directory.remove):
        with pytest.raises(NotFound, match="no such account"):
            change("nobody")


def test_a_removed_account_leaves_its_names_to_others_and_never_comes_back(site: Site) -> None:
    account = site.add_patient("dominique", "p1")
    assert site.accounts.directory.link(account, "https://issuer.example", "subject")
    site.accounts.directory.remove(account.id)
    assert site.accounts.directory.find_by_alias("https://issuer.example", "subject") is None
    again = site.add("dominique", fhir_user="Patient/p1")
    assert again.id != account.id
    with pytest.raises(NotFound):
        site.accounts.directory.remove(account.id)


def test_a_subject_is_linked_to_one_account_and_an_account_to_one_subject_of_an_issuer(site: Site) -> None:
    first, second = site.add_patient("dominique", "p1"), site.add_patient("paul", "p2")
    directory = site.accounts.directory
    assert directory.link(first, "https://issuer.example", "subject")
    linked = directory.get(first.id)
    assert directory.link(linked, "https://issuer.example", "subject")
    assert not directory.link(linked, "https://issuer.example", "another")
    assert directory.link(linked, "https://other.example", "another")
    assert not directory.link(second, "https://issuer.example", "subject")
    assert "subject" not in repr(directory.get(first.id).aliases)


def test_a_one_time_password_is_given_once(site: Site) -> None:
    account = site.add_patient("dominique")
    site.add_totp(account)
    with pytest.raises(Conflict, match="authenticator app already"):
        site.add_totp(account)


def test_an_app_that_was_never_shown_is_not_enrolled(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique")
    token = site.accounts.sign_in.with_password("dominique", "correct horse battery", "a", "").token
    found = site.accounts.find_session(token)
    assert found is not None
    assert site.accounts.codes.enrol(found[0], account, "123456", clock()) is None


def test_an_account_that_is_no_longer_active_holds_nothing(site: Site, clock: Clock) -> None:
    account = site.add_patient("dominique")
    store = site.composition.store()
    assert find_holder(store, account, None, clock()) is not None
    assert find_holder(store, replace(account, state="locked"), None, clock()) is None
    assert find_holder(store, replace(account, fhir_user=None), None, clock()) is None
    doctor = replace(account, kind="professional", fhir_user="Practitioner/gone")
    assert find_holder(store, doctor, Situation("s", "10"), clock()) is None


def test_a_person_without_a_name_is_shown_by_the_accounts(site: Site, clock: Clock) -> None:
    site.put({"resourceType": "Patient", "id": "p1"})
    account = Account("a", "patient", "active", "Somebody", clock(), fhir_user="Patient/p1")
    found = find_holder(site.composition.store(), account, None, clock())
    assert found is not None
    assert found.user_name == "Somebody"


def test_a_throttle_that_has_just_run_out_admits(site: Site, clock: Clock) -> None:
    throttle = site.accounts.sign_in.throttles.name

    class Late(Records):
        """Finds the record only when the wait is over."""

        def change(self, *words: object, **named: object) -> None:  # type: ignore[override]
            clock_seen.append(1)
            return None if len(clock_seen) == 1 else {}  # type: ignore[return-value]

    clock_seen: list[int] = []
    assert throttle.admit("name", clock()) == 0
    late = replace(throttle, records=Late(site.composition.store().connection))
    assert late.admit("name", clock() + timedelta(seconds=1)) == 0
    assert len(clock_seen) == 2


def test_of_two_answers_at_once_one_counts(federation: Federation) -> None:
    site, clock = federation.site, federation.site.clock

    class Taken(Records):
        """Somebody else is always faster."""

        def delete(self, collection: str, filter: object) -> int:
            return 0

    provider = providers_of(site.composition.settings)["psc"]
    accounts = site.accounts
    exchange = Exchange(
        provider,
        Directory(_fetcher(), clock),
        _fetcher(),
        Taken(site.composition.store().connection),
        accounts.sessions.random,
        "http://localhost:8000/auth/federation/psc/callback",
        "http://localhost:8000/auth/federation/psc/signed-out",
        EncryptionKeys(site.composition.settings.data_directory / "encryption-keys.json"),
    )
    answer = federation.psc.authorize(exchange.begin("visit", "/auth/account", clock()))
    with pytest.raises(Unverified, match="finished already"):
        exchange.finish(answer, "visit", clock())


def _fetcher() -> Fetcher:
    return Fetcher(loopback=True)


@pytest.mark.parametrize(
    ("base_url", "known"),
    [
        ("https://health.example.org/fhir", True),
        ("http://health.example.org/fhir", False),
        ("http://localhost:8000/fhir", True),
        ("http://127.0.0.1:8000/fhir", False),
        ("https://[::1]/fhir", False),
    ],
)
def test_security_keys_are_offered_where_browsers_know_them(base_url: str, known: bool) -> None:
    assert knows_security_keys(base_url) is known
