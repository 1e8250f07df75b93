"""SMART App Launch: an app asks, a person decides, the app gets what was decided and no more."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.access.records import GP, circle, encounter
from tests.rest.audited import events, references
from tests.rest.smart import Smart
from tests.rest.smart_apps import ASSERTION, BASE, ISSUER, REDIRECT, App, query_of, with_query
from tests.rest.smart_people import DOCTOR, MARIE, OPERATOR


def test_a_standalone_launch_gives_tokens_for_the_patient_chosen(smart: Smart) -> None:
    token = smart.app().run(MARIE, "openid fhirUser profile launch/patient offline_access patient/Observation.rs")
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 3600
    assert token["scope"] == "openid fhirUser profile launch/patient offline_access patient/Observation.rs"
    assert token["patient"] == "marie"
    assert token["need_patient_banner"] is True
    assert token["refresh_token"]
    caller = smart.caller(token["access_token"])
    assert (caller.kind, caller.patient, caller.user, caller.user_name) == (
        "patient",
        "marie",
        "Patient/marie",
        "Marie Curie",
    )
    assert [(one.resource_type, one.actions) for one in caller.scopes] == [("Observation", "rs")]
    assert smart.works(token["access_token"])


def test_a_child_is_represented(smart: Smart) -> None:
    token = smart.app().run(MARIE, "openid fhirUser launch/patient patient/*.rs", {"patient": "irene"})
    caller = smart.caller(token["access_token"])
    assert (caller.kind, caller.patient, caller.user) == ("representative", "irene", "RelatedPerson/m")
    assert token["patient"] == "irene"


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_an_id_token_says_who_has_logged_in(smart: Smart, alg: str) -> None:
    app = smart.app(id_token_alg=alg)
    token = app.run(MARIE, "openid fhirUser profile patient/*.rs", nonce="n-1")
    keys = KeySet.import_key_set(smart.client.get("/auth/jwks").get_json())
    decoded = jwt.decode(token["id_token"], keys, algorithms=[alg])
    claims = decoded.claims
    assert decoded.header["kid"] in {key.kid for key in keys}
    assert (claims["iss"], claims["aud"], claims["nonce"], claims["acr"]) == (ISSUER, app.client.id, "n-1", "eidas1")
    assert claims["fhirUser"] == f"{BASE}/Patient/marie"
    assert claims["name"] == "Marie Curie"
    assert claims["amr"] == ["pwd", "otp"]
    assert claims["sub"] != "marie"
    assert claims["at_hash"]
    assert claims["exp"] > claims["iat"] >= claims["auth_time"]


def test_without_openid_there_is_no_id_token(smart: Smart) -> None:
    assert "id_token" not in smart.app().run(MARIE, "patient/*.rs")


def test_without_offline_or_online_access_there_is_no_refresh_token(smart: Smart) -> None:
    assert "refresh_token" not in smart.app().run(MARIE, "patient/*.rs")


def test_a_request_by_post_is_as_good(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    answer = browser.post("/auth/authorize", data=app.parameters("patient/*.rs"))
    assert answer.status_code == 303
    assert browser.get(answer.location).status_code == 200


def test_who_is_not_logged_in_is_sent_to_the_login_and_comes_back(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser()
    waiting = app.authorize(browser, "patient/*.rs").location
    sent = browser.get(waiting)
    assert sent.status_code == 303
    assert sent.location == f"/auth/login?next={waiting.replace('/', '%2F')}"
    browser.set_cookie("session", smart.people.sign_in(MARIE))
    assert browser.get(waiting).status_code == 200


@pytest.mark.parametrize("more", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "60"}])
def test_an_app_may_want_a_fresh_login(smart: Smart, more: dict[str, str]) -> None:
    app, browser = smart.app(), smart.browser(MARIE, datetime.now(UTC) - timedelta(hours=1))
    waiting = app.authorize(browser, "openid patient/*.rs", **more).location
    sent = browser.get(waiting)
    assert (sent.status_code, sent.location.partition("?")[0]) == (303, "/auth/login")
    assert sent.location.endswith("&fresh=1")
    browser.set_cookie("session", smart.people.sign_in(MARIE))
    assert browser.get(waiting).status_code == 200


def test_an_answer_from_a_login_that_is_too_old_leads_to_the_login(smart: Smart) -> None:
    app, browser = smart.app(), smart.browser(MARIE)
    page = app.ask(browser, "patient/*.rs", max_age="60")
    form = page.form
    records = smart.composition.store().records
    records.change_many("test_sessions", {}, [{"$set": {"at": datetime.now(UTC) - timedelta(hours=1)}}])
    answer = browser.post(page.path, data={**form, "decision": "allow"})
    assert answer.location.endswith("&fresh=1")


@pytest.mark.parametrize(("account", "error"), [(None, "login_required"), (MARIE, "consent_required")])
@pytest.mark.parametrize("scope", ["openid patient/*.rs", "patient/*.rs"])
def test_nothing_is_granted_without_a_page(smart: Smart, account: Any, error: str, scope: str) -> None:
    app = smart.app()
    answer = app.authorize(smart.browser(account), scope, prompt="none")
    assert query_of(answer.location) == {**query_of(answer.location), "error": error, "state": app.state, "iss": ISSUER}


def test_each_scope_can_be_refused(smart: Smart) -> None:
    app = smart.app()
    page = app.ask(
        smart.browser(MARIE), "openid launch/patient offline_access patient/Observation.rs patient/Condition.rs"
    )
    assert page.form["scope"] == ["openid", "offline_access", "patient/Observation.rs", "patient/Condition.rs"]
    answer = page.allow(scope=["patient/Condition.rs"])
    token = app.exchange(query_of(answer.location)["code"]).get_json()
    assert token["scope"] == "launch/patient patient/Condition.rs"
    assert "refresh_token" not in token
    assert "id_token" not in token


def test_allowing_nothing_asks_again(smart: Smart) -> None:
    page = smart.app().ask(smart.browser(MARIE), "openid patient/*.rs")
    answer = page.allow(scope=[])
    assert answer.status_code == 200
    assert "Choose at least one thing" in answer.text


def test_a_refusal_is_told_to_the_app(smart: Smart) -> None:
    app = smart.app()
    answer = app.ask(smart.browser(MARIE), "patient/*.rs").deny()
    assert answer.location.startswith(REDIRECT)
    told = query_of(answer.location)
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", app.state, ISSUER)


def test_the_page_says_who_asks_what_for_how_long_in_both_languages(smart: Smart) -> None:
    app, browser = (
        smart.app(policy_uri="https://app.example/policy", tos_uri="https://app.example/terms"),
        smart.browser(MARIE),
    )
    scope = "openid launch/patient offline_access patient/Observation.rs?category=laboratory patient/Flag.c"
    french = app.ask(browser, scope, ui_locales="fr-FR en").response.text
    for part in (
        'lang="fr"',
        "The app app demande un accès",
        "Marie Curie",
        "Irène",
        "https://app.example",
        "Lire, rechercher : mesures et résultats (seulement category = laboratory), dans ce dossier",
        "Ajouter : Flag, dans ce dossier",
        "Garder son accès en votre absence",
        "90 jours",
        "60 minutes",
        "Ce qu’elle fait des données",
        "Conditions d’utilisation",
    ):
        assert part in french
    english = app.ask(browser, "patient/*.rs online_access").response.text
    assert "Read, search: everything, in this record" in english
    assert "For 12 hours at most." in english
    assert "For 60 minutes." in app.ask(browser, "patient/*.rs").response.text
    path = app.authorize(browser, "patient/*.rs", ui_locales="de").location
    assert 'lang="fr"' in browser.get(path, headers={"Accept-Language": "fr"}).text


def launched(smart: Smart, born: str, **more: str) -> str:
    """Return the page that a doctor sees who opens an app for a patient of theirs."""
    name = {"use": "official", "given": ["Dominique", "Anne"], "family": "D’Artois"}
    birth = {"birthDate": born} if born else {}
    smart.put({"resourceType": "Patient", "id": "dom", "name": [name], **birth}, circle("dom", (GP, "PCP")))
    launch = smart.composition.smart().launches.mint("app", None, {"patient": "dom"})
    return smart.app().ask(smart.browser(DOCTOR), "launch patient/*.rs", launch=launch, **more).response.text


def test_a_professional_is_told_whose_record_an_app_is_opened_in(smart: Smart) -> None:
    page = launched(smart, "1979-06-13")
    assert "<legend>Record</legend>" in page
    assert "<bdi>Dominique D’Artois</bdi> – date of birth: 1979-06-13</p>" in page
    told = [one for one in events(smart.composition) if "AuditEvent.agent>Practitioner/doctor" in one["r"]]
    assert ["Patient/dom" in references(one) for one in told] == [True], "an access like any other"


@pytest.mark.parametrize(("born", "shown"), [("1979-06-13", "13/06/1979"), ("1979-06", "06/1979"), ("1979", "1979")])
def test_the_day_of_birth_is_written_as_french_writes_it(smart: Smart, born: str, shown: str) -> None:
    page = launched(smart, born, ui_locales="fr")
    assert "<legend>Dossier</legend>" in page
    assert f"</bdi> – date de naissance : {shown}</p>" in page


def test_a_day_of_birth_that_is_not_known_is_not_shown(smart: Smart) -> None:
    assert "<bdi>Dominique D’Artois</bdi></p>" in launched(smart, "")


def test_an_app_that_has_registered_itself_is_shown_as_unknown(smart: Smart) -> None:
    page = smart.app(registered_itself=True, name="<b>Bank</b>").ask(smart.browser(MARIE), "patient/*.rs")
    assert "Nobody at fhir-server has checked" in page.response.text
    assert "&lt;b&gt;Bank" in page.response.text


def test_v1_scopes_are_answered_as_they_were_asked(smart: Smart) -> None:
    token = smart.app().run(MARIE, "launch/patient patient/*.read patient/Observation.write")
    assert token["scope"] == "launch/patient patient/*.read patient/Observation.write"


def test_what_the_client_may_not_have_is_left_out_or_cut(smart: Smart) -> None:
    app = smart.app(scope="openid patient/Observation.rs patient/Condition.rs?category=problem-list-item")
    token = app.run(
        MARIE, "openid offline_access patient/Observation.cruds patient/Condition.rs user/*.rs patient/Nope.r"
    )
    assert token["scope"] == "openid patient/Observation.rs patient/Condition.rs?category=problem-list-item"


def test_a_confidential_app_proves_itself(smart: Smart) -> None:
    app = smart.app("confidential", secret="s3cret")
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    word = {"client_id": "confidential", "client_secret": "s3cret"}
    app.secret = ""
    assert app.exchange(code, **word).status_code == 200


def test_an_app_with_a_key_proves_itself(smart: Smart) -> None:
    backend = smart.backend("signing", kind="confidential", scope="patient/*.rs", redirect_uris=(REDIRECT,))
    app = App(smart, backend.client)
    code = app.code(smart.browser(MARIE), "patient/*.rs")
    form = {"client_id": None, "client_assertion_type": ASSERTION, "client_assertion": backend.assertion()}
    assert app.exchange(code, **form).status_code == 200


def test_a_doctor_opens_a_patient_that_they_may_read(smart: Smart) -> None:
    smart_patient = {
        "resourceType": "Patient",
        "id": "found",
        "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518989"}],
    }
    token = smart.backend(roles=("trusted",)).token("system/*.cruds")
    assert (
        smart.fhir("Patient/found", token, "PUT", json=smart_patient, content_type="application/fhir+json").status_code
        == 201
    )
    app, browser = smart.app(), smart.browser(DOCTOR)
    page = app.ask(browser, "launch/patient patient/*.rs user/Patient.rs")
    assert "No patient of this identifier" in page.allow(identifier="").text
    assert "No patient of this identifier" in page.allow(identifier="1234").text
    for identifier in ("27903,1", "a|b|c"):
        assert "No patient of this identifier" in page.allow(identifier=identifier).text
    answer = page.allow(identifier=" 279035121518989 ")
    given = app.exchange(query_of(answer.location)["code"]).get_json()
    assert given["patient"] == "found"
    assert given["expires_in"] == 900


def test_a_doctor_may_work_without_a_patient(smart: Smart) -> None:
    token = smart.app().run(DOCTOR, "launch/patient user/Patient.rs")
    assert "patient" not in token
    caller = smart.caller(token["access_token"])
    assert caller.kind == "professional"
    assert caller.identifiers == ("urn:oid:1.2.250.1.71.4.2.1|899700218896",)
    assert (caller.profession, caller.specialty, caller.sector) == ("10", "SM54", "SA07")
    assert caller.organization == "Organization/clinic"


def test_an_operator_gets_no_patient(smart: Smart) -> None:
    token = smart.app().run(OPERATOR, "launch/patient patient/*.rs user/AuditEvent.rs")
    assert token["scope"] == "launch/patient user/AuditEvent.rs"
    caller = smart.caller(token["access_token"])
    assert (caller.kind, caller.roles) == ("operator", ("auditor",))
    answer = smart.app("other").authorize(smart.browser(OPERATOR), "launch/patient patient/*.rs")
    told = smart.browser(OPERATOR).get(answer.location)
    assert query_of(told.location)["error"] == "invalid_scope"


def test_an_ehr_launch_carries_its_context(smart: Smart) -> None:
    smart.put(
        {"resourceType": "Patient", "id": "found"},
        encounter("e1", "found"),
        circle("found", (GP, "PCP")),
    )
    app, ehr = smart.app(), smart.backend("ehr", roles=("ehr",))
    context = {
        "patient": "found",
        "encounter": "e1",
        "need_patient_banner": False,
        "intent": "reconcile",
        "smart_style_url": "https://ehr.example/style.json",
        "fhirContext": [{"reference": "ImagingStudy/1", "role": "launch", "identifier": {"system": "a", "value": "b"}}],
    }
    headers = {"Authorization": f"Bearer {ehr.token()}"}
    minted = smart.client.post(
        "/auth/launch", json={"client_id": "app", "user": "Practitioner/doctor", **context}, headers=headers
    )
    assert minted.status_code == 201, minted.text
    launch = minted.get_json()["launch"]
    token = app.run(DOCTOR, "launch openid patient/*.rs", launch=launch)
    assert {name: token[name] for name in context} == context
    caller = smart.caller(token["access_token"])
    assert (caller.patient, caller.encounter) == ("found", "e1")


def test_a_portal_launch_is_for_the_patient_it_names(smart: Smart) -> None:
    launch = smart.composition.smart().launches.mint("app", "marie", {"patient": "irene"})
    page = smart.app().ask(smart.browser(MARIE), "launch patient/*.rs", launch=launch)
    assert page.form["patient"] == "irene"
    assert page.allow(patient="irene").location.startswith(REDIRECT)


def test_brands_and_discovery_say_where_everything_is(smart_with: Callable[..., Smart]) -> None:
    smart = smart_with(brand_name="Mon dossier", client_registration=True)
    found = smart.client.get("/fhir/.well-known/smart-configuration")
    assert found.content_type == "application/json"
    configuration = found.get_json()
    assert configuration["issuer"] == ISSUER
    assert configuration["code_challenge_methods_supported"] == ["S256"]
    assert configuration["registration_endpoint"] == f"{ISSUER}/auth/register"
    for name in ("authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        path = configuration[name].removeprefix(ISSUER)
        assert smart.client.open(path, method="OPTIONS").status_code == 200
    for name in ("token", "introspection", "revocation"):  # RFC 8414: needed where private_key_jwt is offered
        assert configuration[f"{name}_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    openid = smart.client.get("/.well-known/openid-configuration").get_json()
    assert openid["issuer"] == ISSUER
    assert openid["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert (
        smart.client.get("/.well-known/oauth-authorization-server").get_json()["token_endpoint"].endswith("/auth/token")
    )
    bundle = smart.client.get(configuration["user_access_brand_bundle"].removeprefix(ISSUER)).get_json()
    assert [entry["resource"]["resourceType"] for entry in bundle["entry"]] == ["Organization", "Endpoint"]
    assert bundle["entry"][0]["resource"]["name"] == "Mon dossier"
    assert bundle["entry"][1]["resource"]["address"] == BASE


def test_the_capability_statement_is_for_everybody_and_says_how_to_get_in(smart: Smart) -> None:
    statement = smart.fhir("metadata").get_json()
    security = statement["rest"][0]["security"]
    extension = next(one for one in security["extension"] if one["url"].endswith("oauth-uris"))
    urls = {one["url"]: one["valueUri"] for one in extension["extension"]}
    assert urls["authorize"] == f"{ISSUER}/auth/authorize"
    assert urls["token"] == f"{ISSUER}/auth/token"
    codes = {coding["code"] for service in security["service"] for coding in service["coding"]}
    assert codes == {"SMART-on-FHIR", "IUA"}


def test_a_request_is_answered_to_head_as_to_get(smart: Smart) -> None:
    app = smart.app()
    browser = smart.browser(MARIE)
    path = with_query("/auth/authorize", **app.parameters("patient/*.rs"))
    assert [browser.open(path, method=method).status_code for method in ("GET", "HEAD")] == [303, 303]
