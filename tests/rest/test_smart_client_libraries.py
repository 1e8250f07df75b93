"""Client libraries as they are published get tokens and data, without a line for this server."""

import time
from typing import Any

import requests
from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from joserfc import jwt
from lxml import html

from tests.rest.smart import Smart, over_http
from tests.rest.smart_apps import ASSERTION, new_key
from tests.rest.smart_people import MARIE

CALLBACK = "http://127.0.0.1:8123/callback"
WEIGHT = {
    "resourceType": "Observation",
    "id": "weight",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/marie"},
}


def fill(smart: Smart) -> None:
    """Put a small record in."""
    token = smart.backend("loader", roles=("trusted",)).token("system/*.cruds")
    patient = {"resourceType": "Patient", "id": "marie", "name": [{"family": "Curie", "given": ["Marie"]}]}
    for one in (patient, WEIGHT):
        path = f"{one['resourceType']}/{one['id']}"
        assert smart.fhir(path, token, "PUT", json=one, content_type="application/fhir+json").status_code == 201


def consent(smart: Smart, url: str) -> str:
    """Do in a browser of its own what a person does, and return the address that they are led to in the end."""
    with requests.Session() as browser:
        browser.cookies.set("session", smart.people.sign_in(MARIE))
        page = browser.get(url, timeout=30)
        assert page.status_code == 200, page.text
        form = html.fromstring(page.text).forms[0]
        sent = [(name, value) for name, value in form.form_values() if value is not None]
        answer = browser.post(page.url, [*sent, ("decision", "allow")], allow_redirects=False, timeout=30)
        return str(answer.headers["Location"])


def test_fhirclient_for_python_launches_standalone(smart: Smart) -> None:
    fill(smart)
    app = smart.app("python-app", redirect_uris=(CALLBACK,))
    with over_http(smart) as base:
        settings = {
            "app_id": app.client.id,
            "api_base": base,
            "redirect_uri": CALLBACK,
            "scope": "openid fhirUser offline_access patient/*.rs",
        }
        client = FHIRClient(settings=settings)
        assert client.launch_token is None
        client.wants_patient = True
        client.handle_callback(consent(smart, client.authorize_url))
        assert client.ready
        assert client.patient_id == "marie"
        assert Patient.read("marie", client.server).name[0].family == "Curie"
        found = Observation.where({"patient": "marie"}).perform_resources_iter(client.server)
        assert [one.id for one in found] == ["weight"]
        assert client.reauthorize()
        assert Patient.read("marie", client.server).id == "marie"


def test_fhirclient_for_python_launches_from_an_ehr(smart: Smart) -> None:
    fill(smart)
    app = smart.app("python-app", secret="s3cret", redirect_uris=(CALLBACK,))
    launch = smart.composition.smart().launches.mint("python-app", "marie", {"patient": "marie"})
    with over_http(smart) as base:
        settings = {
            "app_id": app.client.id,
            "app_secret": "s3cret",
            "api_base": base,
            "redirect_uri": CALLBACK,
            "launch_token": launch,
            "scope": "patient/*.rs",
        }
        client = FHIRClient(settings=settings)
        client.handle_callback(consent(smart, client.authorize_url))
        assert client.patient.name[0].given == ["Marie"]


def test_a_backend_that_knows_but_the_base_gets_a_token_and_data(smart: Smart) -> None:
    """As the specification's example does it: discovery, assertion, token, request; with requests and a JWT library."""
    fill(smart)
    key = new_key("RS384")
    smart.backend("feeder", jwks={"keys": [key.as_dict(private=False)]}, scope="system/*.rs", roles=("trusted",))
    with over_http(smart) as base:
        found: Any = requests.get(f"{base}/.well-known/smart-configuration", timeout=30).json()
        assert "private_key_jwt" in found["token_endpoint_auth_methods_supported"]
        claims = {
            "iss": "feeder",
            "sub": "feeder",
            "aud": found["token_endpoint"],
            "exp": int(time.time()) + 300,
            "jti": "one",
        }
        assertion = jwt.encode({"alg": "RS384", "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=["RS384"])
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Observation.rs",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion,
        }
        token: Any = requests.post(found["token_endpoint"], form, timeout=30).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        bundle: Any = requests.get(f"{base}/Observation?code=29463-7", headers=headers, timeout=30).json()
        assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["weight"]
