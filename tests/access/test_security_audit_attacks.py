"""Attacks on and by way of the audit of sign-ins: filling it, reading it, learning from it who has an account."""

from typing import Any

import pytest

from fhir_server.app import Composition
from fhir_server.audit.repeats import MOST_AN_HOUR, Repeats
from fhir_server.audit.seals import Sealer
from fhir_server.audit.security_events import COMMAND_LINE, Actor, SecurityEvent
from fhir_server.audit.verification import verify
from fhir_server.context import current_time
from fhir_server.storage.mongo import MongoStore
from tests.access.callers import World, backend, operator, patient, professional, representative
from tests.rest.security_audit import short, told
from tests.rest.signing_in import PASSWORD, Clock, Site
from tests.rest.smart import Smart
from tests.rest.smart_people import MARIE
from tests.trail import stored_events

CODES = ("110113", "110114")


def guess(site: Site, login: str, times: int, address: str = "203.0.113.7", password: str = "wrong") -> None:
    browser = site.browser(address)
    browser.get("/auth/login")
    for _ in range(times):
        browser.post("/auth/login", {"login": login, "password": password})


def test_an_account_is_named_if_there_is_one_and_never_by_what_was_typed(site: Site) -> None:
    account = site.add_patient("dominique")
    for login in ("dominique", "my-password-typed-into-the-wrong-field", ""):
        guess(site, login, 1, password="another secret that was typed")
    assert short(told(site.composition, "sign-in")) == [
        ("sign-in", "refused", account.id, ""),
        ("sign-in", "refused", "unknown", ""),
        ("sign-in", "refused", "unknown", ""),
    ]
    site.composition.store().audit_log.flush()
    database = site.composition.store().connection.database
    kept = repr([list(database[name].find({})) for name in ("audit", "repeats", "throttles")])
    for typed in ("my-password-typed", "another secret", "'dominique'"):
        assert typed not in kept


def test_a_locked_account_is_told_as_such_to_the_audit_alone(site: Site) -> None:
    account = site.add_patient("dominique")
    site.accounts.directory.lock(account.id)
    guess(site, "dominique", 1, password=PASSWORD)
    assert short(told(site.composition, "sign-in")) == [("sign-in", "locked", account.id, "")]


def test_repeated_guesses_are_told_at_every_doubling(site: Site, clock: Clock) -> None:
    site.add_patient("dominique")
    for number in range(40):
        clock.turn(seconds=60)
        guess(site, "dominique", 1, f"203.0.113.{number}")
    events = told(site.composition, "sign-in")
    assert [one.details["count"] for one in events if one.problem == "refused"] == ["1", "2", "4", "8"]
    clock.turn(hours=2)
    guess(site, "dominique", 1)
    assert told(site.composition, "sign-in")[-1].details["count"] == "1"


def test_who_has_to_wait_does_not_fill_the_audit(site: Site) -> None:
    guess(site, "nobody", 100)
    events = told(site.composition, "sign-in")
    assert [one.details["count"] for one in events if one.problem == "refused"] == ["1", "2", "4"]
    assert [one.details["count"] for one in events if one.problem == "throttled"] == [
        "1",
        "2",
        "4",
        "8",
        "16",
        "32",
        "64",
    ]


def test_names_and_addresses_without_end_are_told_together(composition: Composition, clock: Clock) -> None:
    repeats = Repeats(lambda: composition.store().records, clock)
    for number in range(MOST_AN_HOUR):
        assert repeats.count("sign-in", f"name {number}") == 1
    later = [repeats.count("sign-in", f"another {number}") for number in range(MOST_AN_HOUR + 1)]
    assert [one for one in later if one is not None] == [0, 0]
    assert repeats.count("access-token", "x") == 1, "another kind is counted apart"
    clock.turn(hours=1)
    assert repeats.count("sign-in", "x") == 1


def test_a_flood_is_told_as_nobodys(composition: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    log, nobody = composition.security_log(), Actor("unknown", address="203.0.113.7")
    for number in range(MOST_AN_HOUR + 2):
        log.tell_refused(SecurityEvent("sign-in", nobody, problem="refused"), f"name {number}")
    events = told(composition, "sign-in")
    assert len(events) == MOST_AN_HOUR + 1
    assert (events[-1].problem, events[-1].by) == ("many", "unknown")
    assert "203.0.113.7" not in str(events[-1].resource)


def test_a_refusal_costs_the_database_the_same_whether_there_is_an_account(site: Site) -> None:
    site.add_patient("dominique")
    site.accounts.directory.lock(site.add_patient("locked", "p2").id)
    names: list[str] = []
    settings = site.composition.settings
    listening = MongoStore(settings.mongodb_uri or "", settings.database, listener=names.append)
    site.composition._store = listening
    site.composition._accounts = None
    costs = []
    for login in ("warm", "dominique", "unknown", "locked"):
        for _ in range(3):
            names.clear()
            assert not site.accounts.sign_in.with_password(login, "wrong", login, "", "203.0.113.7").token
            costs.append((login, [name for name in names if name not in ("hello", "ping")]))
    by_login: dict[str, list[Any]] = {}
    for login, commands in costs:
        by_login.setdefault(login, []).append(commands)
    assert by_login["dominique"] == by_login["unknown"] == by_login["locked"]


@pytest.fixture
def world_with_sign_ins(world: World) -> World:
    """A world whose audit has events of Marie's account, her child's parent's and an app's."""
    world.put({"resourceType": "Patient", "id": "marie"})
    log = world.composition.security_log()
    log.tell(SecurityEvent("sign-in", Actor("account", "acc-marie", role="patient", address="203.0.113.7")))
    log.tell(SecurityEvent("account-locked", COMMAND_LINE, about=Actor("account", "acc-marie", role="patient")))
    app = Actor("client", "app", "An app")
    log.tell(SecurityEvent("access-token", Actor("account", "acc-marie"), app, request="grant_type=x"))
    world.composition.store().audit_log.flush()
    return world


@pytest.mark.parametrize(
    "caller",
    [
        patient("marie"),
        representative("marie", "rp"),
        professional("martin", "899700218896"),
        backend("hospital"),
        operator(),
    ],
    ids=lambda caller: caller.key,
)
@pytest.mark.parametrize(
    "query",
    [
        "AuditEvent?type=110114",
        "AuditEvent?type=110113",
        "AuditEvent?agent=acc-marie",
        "AuditEvent?subtype=110122",
        "AuditEvent?entity-role=11",
        "AuditEvent?address=203.0.113.7",
        "AuditEvent?_summary=count&type=110114",
    ],
)
def test_events_of_accounts_are_hidden_from_all_but_auditors(
    world_with_sign_ins: World, caller: Any, query: str
) -> None:
    reply = world_with_sign_ins.ask(caller).get(query)
    assert reply.status in (200, 403)
    if reply.status == 200:
        assert reply.body.get("total", 0) == 0
        assert not [one for one in reply.body.get("entry", ()) if one["search"]["mode"] == "match"]


def test_an_auditor_finds_them(world_with_sign_ins: World) -> None:
    auditor = operator(roles=("auditor",))
    for query, count in (("type=110114", 2), ("subtype=110122", 1), ("subtype=ITI-71", 1), ("type=110113", 1)):
        assert world_with_sign_ins.ask(auditor).get(f"AuditEvent?{query}&_total=accurate").body["total"] == count
    found = world_with_sign_ins.ask(auditor).get("AuditEvent?type=110114").body["entry"]
    assert world_with_sign_ins.ask(patient("marie")).get(f"AuditEvent/{found[0]['resource']['id']}").status == 404


def test_they_are_in_nobodys_history_of_accesses(world_with_sign_ins: World) -> None:
    rows = world_with_sign_ins.ask(patient("marie")).get("Patient/marie/$historique-acces").body["parameter"]
    parts = [part for row in rows if row["name"] == "access" for part in row["part"]]
    shown = {part["valueReference"]["reference"] for part in parts if part["name"] == "event"}
    kinds = {"$in": [f"AuditEvent.type||{code}" for code in CODES]}
    of_accounts = {one["_id"] for one in stored_events(world_with_sign_ins.composition.store(), t=kinds)}
    assert len(of_accounts) == 3
    assert shown
    assert not shown & of_accounts


def test_the_seals_cover_them(world_with_sign_ins: World, tmp_path: Any) -> None:
    composition = world_with_sign_ins.composition
    log, heads = composition.store().audit_log, tmp_path / "heads"
    Sealer(log, heads).finish(current_time())
    assert list(verify(log, heads, composition.settings.base_url)) == []
    database = composition.store().connection.database
    database["audit"].delete_one({"t": "AuditEvent.subtype||110122"})
    assert [one.problem for one in verify(log, heads, composition.settings.base_url)] == ["missing"]


def test_nothing_secret_is_told(smart: Smart) -> None:
    app = smart.app("confidential", secret="s3cret-of-the-app")
    code = app.code(smart.browser(MARIE), "openid patient/*.rs offline_access")
    given = app.exchange(code).get_json()
    again = app.refresh(given["refresh_token"]).get_json()
    app.exchange(code)
    app.token(grant_type="password", username="marie", password="typed-password")
    backend_ = smart.backend()
    assertion = backend_.assertion()
    backend_.ask(assertion=assertion)
    backend_.ask(assertion=assertion)
    everything = repr([one.resource for one in told(smart.composition)]) + "".join(
        one.request for one in told(smart.composition)
    )
    secrets = [code, app.verifier, app.secret, given["access_token"], given["refresh_token"], given["id_token"]]
    for secret in (*secrets, again["access_token"], assertion, assertion.rpartition(".")[2], "typed-password"):
        assert secret not in everything
    assert len(told(smart.composition)) > 5
