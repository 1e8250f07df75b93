"""Sites that are set up with an identity provider, and the way through it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.rest.identity_provider import CLIENT_ID, SECRET, Provider, answer_query, running
from tests.rest.signing_in import Browser, Clock, Site

DOCTOR: dict[str, Any] = {
    "SubjectNameID": "899700218896",
    "given_name": "Stéphane",
    "family_name": "MEDIONI",
    "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
    "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4",
    "SubjectRefPro": {
        "exercices": [
            {
                "codeProfession": "10",
                "codeSavoirFaire": "SM54",
                "activities": [
                    {
                        "codeSecteurDactivite": "SA07",
                        "numeroFinessSite": "750803447",
                        "raisonSocialeSite": "Cabinet Medioni",
                    }
                ],
            }
        ]
    },
}
SECOND_ACTIVITY = {"codeSecteurDactivite": "SA01", "raisonSocialeSite": "Hôpital"}
PIVOT: dict[str, Any] = {
    "family_name": "PAT-TROIS",
    "given_name": "Dominique Marie-Louise",
    "birthdate": "1979-03-28",
    "gender": "female",
    "birthplace": "51215",
    "birthcountry": "99100",
}
INSEE = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"use": "official", "family": "Pat-Trois", "given": ["Dominique"]}],
    "birthDate": "1979-03-28",
    "gender": "female",
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
            "valueAddress": {"extension": [{"url": INSEE, "valueCoding": {"code": "51215"}}]},
        }
    ],
}


@dataclass
class Federation:
    """A site and the two providers it is set up with."""

    site: Site
    psc: Provider
    franceconnect: Provider

    def provider(self, name: str) -> Provider:
        """Return the provider of that name."""
        return self.psc if name == "psc" else self.franceconnect

    def begin(self, browser: Browser, name: str, next: str = "/auth/authorize/abc") -> dict[str, str]:
        """Go to a provider, agree, and return what one is sent back with."""
        answer = browser.get(f"/auth/federation/{name}?next={next}")
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return self.provider(name).authorize(answer.headers["Location"])

    def finish(self, browser: Browser, name: str, answer: dict[str, str]) -> TestResponse:
        """Come back."""
        return browser.get(f"/auth/federation/{name}/callback?{answer_query(answer)}")

    def sign_in(self, name: str, browser: Browser | None = None) -> TestResponse:
        """Go all the way and return the last answer."""
        browser = browser or self.site.browser()
        return self.finish(browser, name, self.begin(browser, name))


@pytest.fixture
def make_federation(
    make_site: Callable[..., Site], clock: Clock, tmp_path: Path
) -> Iterator[Callable[..., Federation]]:
    """Return a function that makes a site with both providers."""
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    with ExitStack() as stack:

        def make(**given: Any) -> Federation:
            psc = stack.enter_context(running(Provider(clock, "wallet-openid-configuration", "RS256", dict(DOCTOR))))
            psc.key = given.pop("psc_key", None) or psc.key
            psc.algorithm = given.pop("psc_algorithm", "ES256")
            franceconnect = Provider(clock, "openid-configuration", "ES256", dict(PIVOT), signed_userinfo=True)
            stack.enter_context(running(franceconnect))
            settings = {
                "fetch_loopback": True,
                "psc_issuer": psc.issuer,
                "psc_client_id": CLIENT_ID,
                "psc_client_secret_file": tmp_path / "secret",
                "franceconnect_issuer": franceconnect.issuer,
                "franceconnect_client_id": CLIENT_ID,
                "franceconnect_client_secret_file": tmp_path / "secret",
            }
            return Federation(make_site(**{**settings, **given}), psc, franceconnect)

        yield make


@pytest.fixture
def federation(make_federation: Callable[..., Federation]) -> Federation:
    """A site with both providers, which behave."""
    return make_federation()
