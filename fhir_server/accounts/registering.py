"""The resources that stand for a professional and where they practise: found by their identifiers, else created.

One transaction of conditional creates, so that two first sign-ins at once leave one Practitioner.
Spec: http://hl7.org/fhir/R4/http.html#ccreate, https://interop.esante.gouv.fr/ig/fhir/annuaire/
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from fhir_server.accounts.account import Situation
from fhir_server.accounts.professions import PROFESSION_SYSTEM, Professional
from fhir_server.accounts.reading import Resource
from fhir_server.context import RequestContext
from fhir_server.fhir.json import parse_stored
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest

SITUATION_SYSTEM = "https://espace-sante.example/fhir/sid/practice-situation"
SPECIALTY_SYSTEM = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
_PRACTITIONER = "urn:uuid:00000000-0000-4000-8000-000000000001"
_ORGANIZATION = "urn:uuid:00000000-0000-4000-8000-000000000002"
_ROLE = "urn:uuid:00000000-0000-4000-8000-000000000003"


def register_practitioner(ctx: RequestContext, professional: Professional) -> str:
    """Return ``Practitioner/id`` of a professional. Raises ``FhirError`` when several have the national identifier."""
    return _transact(ctx, [_practitioner_entry(professional)])[0]


def register_situation(ctx: RequestContext, practitioner: str, situation: Situation) -> Situation:
    """Return the situation with its PractitionerRole and, if the structure is known, its Organization.

    Raises ``FhirError`` when several have the same identifiers.
    """
    entries = []
    if situation.organization is None and situation.organization_identifiers:
        entries.append(_organization_entry(situation))
    structure = _ORGANIZATION if entries else situation.organization
    entries.append(_role_entry(practitioner, situation, structure))
    *organizations, role = _transact(ctx, entries)
    organization = organizations[0] if organizations else situation.organization
    return replace(situation, practitioner_role=role, organization=organization)


def _practitioner_entry(professional: Professional) -> dict[str, Any]:
    name = {"use": "official", "family": professional.family, "given": [professional.given]}
    resource = {
        "resourceType": "Practitioner",
        "identifier": _identifiers(professional.identifiers),
        "active": True,
        "name": [{part: value for part, value in name.items() if value and value != [""]}],
    }
    if resource["name"] == [{"use": "official"}]:
        del resource["name"]
    return _entry(_PRACTITIONER, resource, professional.identifiers[0])


def _organization_entry(situation: Situation) -> dict[str, Any]:
    resource = {
        "resourceType": "Organization",
        "identifier": _identifiers(situation.organization_identifiers),
        "active": True,
        "name": situation.organization_name or situation.organization_identifiers[0].partition("|")[2],
    }
    return _entry(_ORGANIZATION, resource, situation.organization_identifiers[0])


def _role_entry(practitioner: str, situation: Situation, organization: str | None) -> dict[str, Any]:
    value = sha256(f"{practitioner}\0{situation.id}".encode()).hexdigest()[:32]
    resource: Resource = {
        "resourceType": "PractitionerRole",
        "identifier": [{"system": SITUATION_SYSTEM, "value": value}],
        "active": True,
        "practitioner": {"reference": practitioner},
        "code": [_concept(PROFESSION_SYSTEM, situation.profession)],
    }
    if organization is not None:
        resource["organization"] = {"reference": organization}
    if situation.specialty:
        resource["specialty"] = [_concept(SPECIALTY_SYSTEM, situation.specialty)]
    return _entry(_ROLE, resource, f"{SITUATION_SYSTEM}|{value}")


def _entry(full_url: str, resource: Resource, identifier: str) -> dict[str, Any]:
    request = {
        "method": "POST",
        "url": resource["resourceType"],
        "ifNoneExist": urlencode({"identifier": identifier}),
    }
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _transact(ctx: RequestContext, entries: Sequence[dict[str, Any]]) -> list[str]:
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
    response = dispatch(ctx, FhirRequest("POST", (), resource=bundle, prefer_return="minimal"))
    body = parse_stored(response.body) if isinstance(response.body, bytes) else response.body or {}
    return ["/".join(each["response"]["location"].split("/")[:2]) for each in body["entry"]]


def _identifiers(values: Sequence[str]) -> list[dict[str, str]]:
    return [{"system": system, "value": value} for system, _, value in (each.partition("|") for each in values)]


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
