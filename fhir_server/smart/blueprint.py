"""The routes of the authorization server: Flask's requests in, Flask's responses out.

Spec: https://hl7.org/fhir/smart-app-launch/, https://www.rfc-editor.org/rfc/rfc6749
"""

import json
from collections.abc import Callable
from typing import Any

import orjson
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from fhir_server.smart.addresses import client_address, to_subscriber
from fhir_server.smart.authorization import Authorization
from fhir_server.smart.discovery import (
    build_brands,
    build_metadata,
    build_openid_configuration,
    build_smart_configuration,
)
from fhir_server.smart.edge import Edge
from fhir_server.smart.encounters import Encounters
from fhir_server.smart.grants.authorization_code import S256, AuthorizationCode
from fhir_server.smart.grants.client_credentials import ClientCredentials
from fhir_server.smart.grants.refresh_token import RefreshToken
from fhir_server.smart.id_tokens import IdToken
from fhir_server.smart.introspection import Introspection
from fhir_server.smart.keys import SigningKeys
from fhir_server.smart.launching import mint_launch
from fhir_server.smart.pages import Pages
from fhir_server.smart.parts import Parts
from fhir_server.smart.pending import PendingRequests
from fhir_server.smart.questions import Questions
from fhir_server.smart.refusals import to_oauth_error
from fhir_server.smart.registration import Configuration, Registration, read_metadata
from fhir_server.smart.requests import MetadataRequest, SmartRequest
from fhir_server.smart.revocation import Revocation
from fhir_server.smart.server import TOKEN_PATH, SmartServer
from fhir_server.smart.subjects import Subjects
from fhir_server.storage.store import StoreUnavailable

_MOST_BYTES = 65_536
_FORM = "application/x-www-form-urlencoded"
_SHARED_ENDPOINTS = ("/auth/token", "/auth/revoke", "/auth/introspect", "/auth/register")
_SHARED = ("/fhir/.well-known/", "/.well-known/", "/auth/jwks", "/auth/brands", *_SHARED_ENDPOINTS)
"""What pages of other origins may call, as far as the operator lets them; never the pages for people."""
_ENDPOINTS = (*_SHARED_ENDPOINTS, "/auth/launch")
"""What programs send something to."""


def build_server(parts: Parts) -> SmartServer:
    """Return Authlib's server with everything registered that this one offers."""
    server = SmartServer(parts)
    server.register_grant(AuthorizationCode, [S256(required=True), IdToken(parts)])
    server.register_grant(RefreshToken)
    server.register_grant(ClientCredentials)
    server.register_endpoint(Introspection)
    server.register_endpoint(Revocation)
    server.register_endpoint(Registration(server))
    server.register_endpoint(Configuration(server))
    return server


def smart_blueprint(parts: Parts, edge: Edge) -> Blueprint:
    """Return the routes of ``/auth`` and of the well-known addresses."""
    blueprint = Blueprint("smart", __name__, template_folder="templates")
    server = build_server(parts)
    _add_refusals(blueprint, server)
    _add_discovery(blueprint, parts, edge)
    _add_authorization(blueprint, server, edge)
    _add_tokens(blueprint, server, edge)
    if parts.settings.client_registration:
        _add_registration(blueprint, server, edge)

    @blueprint.before_request
    def bound() -> None:
        request.max_content_length = _MOST_BYTES

    @blueprint.after_app_request
    def share(response: Response) -> Response:
        if not request.path.startswith(_SHARED):
            return response
        # Said to everybody: what a cache has kept of an answer to no page is not an answer to a page.
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None:
            preflight = edge.preflight(origin) if request.method == "OPTIONS" else []
            response.headers.extend([*edge.cors(origin), *preflight])
        return response

    return blueprint


def _add_refusals(blueprint: Blueprint, server: SmartServer) -> None:
    @blueprint.before_app_request
    def refuse_method() -> Response | None:
        # Where the method is wrong there is no route, and so no blueprint: Flask would refuse it as any other path.
        wrong = request.routing_exception
        if isinstance(wrong, MethodNotAllowed) and request.path.startswith(_ENDPOINTS):
            return to_oauth_error(wrong)
        return None

    @blueprint.errorhandler(OAuth2Error)
    def refused(error: OAuth2Error) -> Response:
        return server.handle_error_response(None, error)

    @blueprint.errorhandler(HTTPException)
    def refused_by_http(error: HTTPException) -> Response:
        return to_oauth_error(error)

    @blueprint.errorhandler(StoreUnavailable)
    def unavailable(error: StoreUnavailable) -> Response:
        return _json({"error": "temporarily_unavailable"}, 503, {"Retry-After": "2"})


def _add_discovery(blueprint: Blueprint, parts: Parts, edge: Edge) -> None:
    documents: dict[str, Callable[..., dict[str, Any]]] = {
        "/fhir/.well-known/smart-configuration": build_smart_configuration,
        "/.well-known/openid-configuration": build_openid_configuration,
        "/.well-known/oauth-authorization-server": build_metadata,
        "/auth/brands": build_brands,
    }

    def show(build: Callable[..., dict[str, Any]]) -> Callable[[], Response]:
        return lambda: _json(build(parts.settings, edge.base_url(request.environ)), 200, _PUBLIC)

    for path, build in documents.items():
        blueprint.add_url_rule(path, path.strip("/").replace("/", "_").replace(".", ""), show(build), methods=["GET"])
    blueprint.add_url_rule("/auth/jwks", "jwks", lambda: _key_set(parts.keys), methods=["GET"])


def _key_set(keys: SigningKeys) -> Response:
    return _json(keys.public(), 200, _PUBLIC)


def _add_authorization(blueprint: Blueprint, server: SmartServer, edge: Edge) -> None:
    parts = server.parts
    endpoint = Authorization(
        server,
        edge,
        Pages(parts.settings.brand_name, parts.ground.random_bytes),
        PendingRequests(parts.ground),
        Questions(parts, Encounters(edge), Subjects(edge)),
    )

    @blueprint.route("/auth/authorize", methods=["GET", "POST"])
    def authorize() -> Response:
        given = request.form if request.method == "POST" else request.args
        return endpoint.begin(request.environ, request.method, MultiDict(given))

    @blueprint.get("/auth/authorize/<word>")
    def ask(word: str) -> Response:
        return endpoint.show(request.environ, word)

    @blueprint.post("/auth/authorize/<word>")
    def decide(word: str) -> Response:
        return endpoint.decide(request.environ, word, MultiDict(request.form))


def _add_tokens(blueprint: Blueprint, server: SmartServer, edge: Edge) -> None:
    def form_request() -> SmartRequest:
        if request.mimetype != _FORM:
            raise InvalidRequestError(f"The body must be {_FORM}.")
        base_url, address = edge.base_url(request.environ), _address(server.parts)
        return SmartRequest("POST", request.path, base_url, dict(request.headers), MultiDict(request.form), address)

    @blueprint.post(TOKEN_PATH)
    def token() -> Response:
        read = form_request()
        read.check_singles()
        return server.create_token_response(read)  # type: ignore[no-any-return]

    @blueprint.post("/auth/introspect")
    def introspect() -> Response:
        return server.create_endpoint_response("introspection", form_request())  # type: ignore[no-any-return]

    @blueprint.post("/auth/revoke")
    def revoke() -> Response:
        return server.create_endpoint_response("revocation", form_request())  # type: ignore[no-any-return]

    @blueprint.post("/auth/launch")
    def launch() -> Response:
        minted = mint_launch(server.parts, request.headers.get("Authorization", ""), _body())
        return _json(minted, 201, {"Cache-Control": "no-store"})


def _add_registration(blueprint: Blueprint, server: SmartServer, edge: Edge) -> None:
    def read() -> MetadataRequest:
        data = read_metadata(_body()) if request.method in ("POST", "PUT") else {}
        base_url, address = edge.base_url(request.environ), _address(server.parts)
        return MetadataRequest(request.method, base_url, request.path, dict(request.headers), data, address)

    @blueprint.post("/auth/register")
    def register() -> Response:
        # Counted before it is read: who floods the server with registrations fills it, right or wrong.
        wait = server.parts.admit_registration(to_subscriber(_address(server.parts)))
        if wait:
            told = {
                "error": "temporarily_unavailable",
                "error_description": "Too many registrations from this address.",
            }
            return _json(told, 429, {"Retry-After": str(wait)})
        return server.create_endpoint_response("client_registration", read())  # type: ignore[no-any-return]

    @blueprint.route("/auth/register/<client>", methods=["GET", "PUT", "DELETE"])
    def configure(client: str) -> Response:
        return server.create_endpoint_response("client_configuration", read())  # type: ignore[no-any-return]


def _address(parts: Parts) -> str:
    return client_address(request.environ, parts.settings.trusted_proxies)


def _body() -> Any:
    """Return the JSON of the request, None for what is none, or names half a character that nothing can keep."""
    try:
        return orjson.loads(request.get_data())
    except ValueError:
        return None


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json")


_PUBLIC = {"Cache-Control": "public, max-age=300"}
