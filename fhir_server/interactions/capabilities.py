"""capabilities: ``GET [base]/metadata``, generated from what the code does.

Spec: http://hl7.org/fhir/R4/http.html#capabilities, http://hl7.org/fhir/R4/capabilitystatement.html
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from fhir_server import SOFTWARE_DATE, SOFTWARE_VERSION
from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, Text
from fhir_server.fhir.definitions import compartment_definitions, resource_types
from fhir_server.fhir.json import to_json
from fhir_server.interactions.operation import operations
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.search.apart import APART_TYPES
from fhir_server.search.includes import supported_includes, supported_revincludes
from fhir_server.search.parameters import SearchParameter, defined_parameters, supported_parameters
from fhir_server.search.stored import stored_parameters
from fhir_server.settings import Settings

_TYPE_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
_SYSTEM_INTERACTIONS = ("transaction", "batch", "search-system", "history-system")
_FORMATS = ("application/fhir+json", "application/fhir+xml", "json", "xml")
_PATCH_FORMATS = (
    "application/json-patch+json",
    "application/xml-patch+xml",
    "application/fhir+json",
    "application/fhir+xml",
)
_SAID = "All of the RESTful API of R4; what a setting changes is declared as it is set."
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = (
    ("http://terminology.hl7.org/CodeSystem/restful-security-service", "SMART-on-FHIR"),
    ("http://profiles.ihe.net/ITI/IUA/CodeSystem/securityTypes", "IUA"),
)
_APPEND_ONLY = {
    "interaction": [{"code": code} for code in _TYPE_INTERACTIONS if code not in ("update", "patch", "delete")],
    "versioning": "versioned",
    "updateCreate": False,
    "conditionalCreate": False,
    "conditionalUpdate": False,
    "conditionalDelete": "not-supported",
}
# http://hl7.org/fhir/R4/versions.html#normative: the resource types that are normative in R4.
_NORMATIVE = frozenset(
    {
        "Binary",
        "Bundle",
        "CapabilityStatement",
        "CodeSystem",
        "Observation",
        "OperationDefinition",
        "OperationOutcome",
        "Parameters",
        "Patient",
        "StructureDefinition",
        "ValueSet",
    }
)


def capabilities(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the CapabilityStatement, or with ``mode=terminology`` the TerminologyCapabilities."""
    mode = dict(request.parameters).get("mode", "full")
    if mode not in ("full", "normative", "terminology"):
        text = Text("mode is one of full, normative, terminology", "mode vaut l’un de full, normative, terminology")
        raise Invalid(text)
    return FhirResponse(200, _serialised(mode, ctx.settings, ctx.base_url, _stored_claims()), route=route.template)


def _stored_claims() -> frozenset[tuple[str, str, str]]:
    """Return what of the statement may change while the server runs; mostly nothing."""
    return frozenset(
        (kind, one.code, one.url)
        for kind, parameters in stored_parameters().by_type.items()
        for one in parameters.values()
        if one.refusal is None
    )


@lru_cache(maxsize=8)
def _serialised(mode: str, settings: Settings, base_url: str, stored: frozenset[tuple[str, str, str]]) -> bytes:
    """``stored`` is what makes one statement differ from another of the same server."""
    if mode == "terminology":
        return to_json(build_terminology_capabilities(base_url))
    types = sorted(resource_types() if mode == "full" else resource_types() & _NORMATIVE)
    return to_json(build_capability_statement(settings, base_url, types))


def build_capability_statement(settings: Settings, base_url: str, types: list[str] | None = None) -> dict[str, Any]:
    """Return the CapabilityStatement of a server with these settings, for ``types`` or for all."""
    return {
        "resourceType": "CapabilityStatement",
        **_heading("CapabilityStatement", "FhirServer"),
        "kind": "instance",
        "software": {"name": "fhir-server", "version": SOFTWARE_VERSION, "releaseDate": SOFTWARE_DATE},
        "implementation": {"description": "A personal health record server on FHIR R4", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": list(_FORMATS),
        "patchFormat": list(_PATCH_FORMATS),
        "rest": [
            {
                "mode": "server",
                "documentation": " ".join([_SAID, *_refused(defined_parameters("Resource"))]),
                "security": _security(settings, base_url),
                "resource": [_resource(settings, kind) for kind in types or sorted(resource_types())],
                "interaction": [{"code": code} for code in _SYSTEM_INTERACTIONS],
                "searchParam": [_parameter(each) for each in supported_parameters("Resource")],
                **_if_any("operation", list(_operations({"system"}, None))),
                "compartment": [
                    f"http://hl7.org/fhir/CompartmentDefinition/{code.lower()}"
                    for code in sorted(compartment_definitions())
                ],
            }
        ],
    }


def _security(settings: Settings, base_url: str) -> dict[str, Any]:
    """Return how callers get in: by SMART and IUA, with the addresses where clients of SMART 1 look for them."""
    if settings.auth == "open":
        return {"cors": bool(settings.cors_origins)}
    issuer = base_url.rpartition("/")[0]
    names = ("authorize", "token", "introspect", "revoke", *(("register",) if settings.client_registration else ()))
    addresses = [{"url": name, "valueUri": f"{issuer}/auth/{name}"} for name in names]
    return {
        "extension": [{"extension": addresses, "url": _OAUTH_URIS}],
        "cors": bool(settings.cors_origins),
        "service": [{"coding": [{"system": system, "code": code}]} for system, code in _SERVICES],
        "description": f"Tokens: {base_url}/.well-known/smart-configuration",
    }


def build_terminology_capabilities(base_url: str) -> dict[str, Any]:
    """Return the TerminologyCapabilities: no terminology operation is offered yet."""
    return {
        "resourceType": "TerminologyCapabilities",
        **_heading("TerminologyCapabilities", "FhirServerTerminology"),
        "kind": "instance",
        "software": {"name": "fhir-server", "version": SOFTWARE_VERSION},
        "implementation": {"description": "A personal health record server on FHIR R4", "url": base_url},
    }


def _heading(kind: str, name: str) -> dict[str, Any]:
    return {
        "url": f"https://espace-sante.example/fhir/{kind}/fhir-server",
        "version": SOFTWARE_VERSION,
        "name": name,
        "title": "FHIR server",
        "status": "active",
        "date": SOFTWARE_DATE,
    }


def _resource(settings: Settings, kind: str) -> dict[str, Any]:
    declared: dict[str, Any] = {
        "type": kind,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{kind}",
        **(_APPEND_ONLY if kind in APART_TYPES else _changeable(settings)),
        "documentation": " ".join(_refused(_own_parameters(kind))),
        "readHistory": True,
        "conditionalRead": "full-support",
        "referencePolicy": [
            "literal",
            "logical",
            "local",
            *(["enforced"] if settings.referential_integrity_write else []),
        ],
        "searchInclude": supported_includes(kind),
        "searchRevInclude": supported_revincludes(kind),
        "searchParam": [_parameter(each) for each in supported_parameters(kind)],
        "operation": list(_operations({"type", "instance"}, kind)),
    }
    return {name: value for name, value in declared.items() if value not in ([], "")}


def _own_parameters(kind: str) -> list[SearchParameter]:
    """Return the parameters of a type that not all types have."""
    common = {each.code for each in defined_parameters("Resource")}
    return [each for each in defined_parameters(kind) if each.code not in common]


def _refused(parameters: Iterable[SearchParameter]) -> list[str]:
    """Return a sentence for each search parameter that is defined and refused, with the reason."""
    return [
        f"Searches by {each.code} are refused: {each.refusal.en}." for each in parameters if each.refusal is not None
    ]


def _changeable(settings: Settings) -> dict[str, Any]:
    return {
        "interaction": [{"code": code} for code in _TYPE_INTERACTIONS],
        "versioning": "versioned-update",
        "updateCreate": settings.update_as_create,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "conditionalDelete": settings.conditional_delete,
    }


def _if_any(name: str, values: list[Any]) -> dict[str, Any]:
    """FHIR knows no empty arrays."""
    return {name: values} if values else {}


def _parameter(each: SearchParameter) -> dict[str, Any]:
    declared = {
        "name": each.code,
        "definition": each.url,
        "type": each.type,
        "documentation": _abilities(each),
    }
    return {name: value for name, value in declared.items() if value}


def _abilities(each: SearchParameter) -> str:
    """Return the modifiers and prefixes that the parameter takes; a test walks through them."""
    modifiers = [f":{name}" for name in each.modifiers]
    if each.type == "reference":
        modifiers.append(":[type]")
    said = [("Modifiers", modifiers), ("Prefixes", each.prefixes)]
    return " ".join(f"{name}: {', '.join(values)}." for name, values in said if values)


def _operations(levels: set[str], kind: str | None) -> Iterator[dict[str, Any]]:
    """Yield what is offered at one of the levels; the statement has one list for a type and its instances."""
    for code, each in sorted(operations().items()):
        changing = each.affects_state and kind in APART_TYPES
        if levels & each.levels and (not each.types or kind in each.types) and not changing:
            yield {"name": code, "definition": each.definition}
