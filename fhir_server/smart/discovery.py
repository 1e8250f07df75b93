"""What clients read before anything else: SMART's configuration, OpenID Connect's and OAuth's metadata, the brands.

Spec: https://hl7.org/fhir/smart-app-launch/conformance.html, https://www.rfc-editor.org/rfc/rfc8414,
https://hl7.org/fhir/smart-app-launch/brands.html
"""

from typing import Any

from fhir_server.settings import Settings
from fhir_server.smart.key_sets import SIGNING_ALGORITHMS
from fhir_server.smart.keys import ALGORITHMS
from fhir_server.smart.requests import issuer_of
from fhir_server.smart.scope_words import LAUNCH, TRANSACTIONS

BRANDS = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/user-access-brand"
ENDPOINTS = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/user-access-endpoint"
_CODES = "http://terminology.hl7.org/CodeSystem"
_CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
_SCOPES = (*LAUNCH, "patient/*.cruds", "user/*.cruds", "system/*.cruds", *sorted(TRANSACTIONS))
_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


def build_metadata(settings: Settings, base_url: str) -> dict[str, Any]:
    """Return OAuth's metadata of the server that is reached under this FHIR base."""
    issuer = issuer_of(base_url)
    metadata = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/auth/jwks",
        "authorization_endpoint": f"{issuer}/auth/authorize",
        "token_endpoint": f"{issuer}/auth/token",
        "introspection_endpoint": f"{issuer}/auth/introspect",
        "revocation_endpoint": f"{issuer}/auth/revoke",
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "scopes_supported": list(_SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", *_METHODS],
        "token_endpoint_auth_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": list(_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["none", *_METHODS],
        "revocation_endpoint_auth_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["fr", "en"],
    }
    if settings.client_registration:
        metadata["registration_endpoint"] = f"{issuer}/auth/register"
    return metadata


def build_smart_configuration(settings: Settings, base_url: str) -> dict[str, Any]:
    """Return ``/fhir/.well-known/smart-configuration``."""
    issuer = issuer_of(base_url)
    return {
        **build_metadata(settings, base_url),
        "capabilities": list(_CAPABILITIES),
        "user_access_brand_bundle": f"{issuer}/auth/brands",
        "user_access_brand_identifier": {"system": "urn:ietf:rfc:3986", "value": issuer},
    }


def build_openid_configuration(settings: Settings, base_url: str) -> dict[str, Any]:
    """Return ``/.well-known/openid-configuration``."""
    return {
        **build_metadata(settings, base_url),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ALGORITHMS),
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "fhirUser", "name"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def build_brands(settings: Settings, base_url: str) -> dict[str, Any]:
    """Return the bundle by which apps show the service to patients who look for it."""
    issuer = issuer_of(base_url)
    organization, endpoint = f"{issuer}/auth/brands#brand", f"{issuer}/auth/brands#endpoint"
    identifier = {"system": "urn:ietf:rfc:3986", "value": issuer}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": "2026-01-01T00:00:00Z",
        "entry": [
            {"fullUrl": organization, "resource": _brand(settings, issuer, identifier, endpoint)},
            {"fullUrl": endpoint, "resource": _endpoint(settings, base_url, issuer)},
        ],
    }


def _brand(settings: Settings, issuer: str, identifier: dict[str, str], endpoint: str) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": "brand",
        "meta": {"profile": [BRANDS]},
        "identifier": [identifier],
        "active": True,
        "name": settings.brand_name,
        "telecom": [{"system": "url", "value": issuer}],
        "endpoint": [{"reference": endpoint}],
    }


def _endpoint(settings: Settings, base_url: str, issuer: str) -> dict[str, Any]:
    return {
        "resourceType": "Endpoint",
        "id": "endpoint",
        "meta": {"profile": [ENDPOINTS]},
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/endpoint-fhir-version", "valueCode": "4.0.1"}],
        "status": "active",
        "connectionType": {
            "system": f"{_CODES}/endpoint-connection-type",
            "code": "hl7-fhir-rest",
        },
        "name": settings.brand_name,
        "contact": [{"system": "url", "value": issuer}],
        "payloadType": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none"}]}
        ],
        "address": base_url,
    }
