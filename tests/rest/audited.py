"""A server whose callers are who the header ``X-Test-Caller`` says, with the audit on."""

from dataclasses import replace
from typing import Any

from fhir_server.access.caller import LOCAL_CALLER, OPEN_CALLER, Caller
from fhir_server.access.credentials import RefusedToken
from fhir_server.access.policy import Policy
from fhir_server.app import Composition, build_app
from fhir_server.audit.codes import HIDDEN_FROM_REPRESENTATIVES
from fhir_server.context import RequestContext
from fhir_server.errors import Text
from fhir_server.rest.gateway import FhirGateway
from tests.rest.fhir import Fhir, Reply
from tests.trail import stored_events

DOCTOR = Caller(
    "doctor",
    "professional",
    client_id="lps-1",
    client_name="LPS Exemple 4.2",
    user="Practitioner/medioni",
    user_name="Dr Medioni",
    identifiers=("urn:oid:1.2.250.1.71.4.2.1|899700218896",),
    profession="10",
)
CALLERS = {
    "open": OPEN_CALLER,
    "doctor": DOCTOR,
    "secret": Caller("secret", "professional", user="Practitioner/medioni", user_name="Dr Medioni", secret=True),
    "urgent": Caller(
        "urgent",
        "professional",
        user="Practitioner/garde",
        user_name="Dr Garde",
        mode="bris_de_glace",
        reason="Patient inconscient",
    ),
    "holder": Caller("holder", "patient", client_id="app", user="Patient/p", user_name="Dominique", patient="p"),
    "parent": Caller("parent", "representative", user="RelatedPerson/r", user_name="Camille", patient="p"),
    "hospital": Caller("hospital", "system", client_id="chu", client_name="CHU Exemple"),
}


def audited(composition: Composition) -> Fhir:
    """Return a FHIR client of the server; requests without the header are the open caller's, which is audited too.

    What each may see is not in question here: the policy lets everybody through.
    """

    def authenticate(environ: dict[str, Any]) -> Caller:
        name = environ.get("HTTP_X_TEST_CALLER", "open")
        if name == "expired":
            raise RefusedToken(Text("The token has expired", "Le jeton a expiré"), caller=DOCTOR)
        return CALLERS[name]

    def open_context(*given: Any) -> RequestContext:
        ctx = composition.open_context(*given)
        return replace(ctx, repository=replace(ctx.repository, policy=Policy(LOCAL_CALLER)))

    app = build_app(composition, authenticate)
    gateway: FhirGateway = app.wsgi_app  # type: ignore[assignment]
    gateway._open_context = open_context
    return Fhir(app)


def events(composition: Composition, **having: Any) -> list[dict[str, Any]]:
    """Return the events of the audit in order, without those of the open caller."""
    found = stored_events(composition.store(), **having)
    return [one for one in found if "AuditEvent.agent-role||open" not in one["t"]]


def subtypes(found: list[dict[str, Any]]) -> list[str]:
    """Return the interactions that events tell, in alphabetical order."""
    start = "AuditEvent.subtype||"
    return sorted(key[len(start) :] for one in found for key in one["t"] if key.startswith(start))


def references(event: dict[str, Any]) -> set[str]:
    """Return what an event's entities refer to."""
    start = "AuditEvent.entity>"
    return {key[len(start) :] for key in event["r"] if key.startswith(start)}


def created(reply: Reply) -> Reply:
    """Return the reply once it says that something was made."""
    assert reply.status in (200, 201), reply.content
    return reply


__all__ = ["CALLERS", "HIDDEN_FROM_REPRESENTATIVES", "audited", "created", "events", "references", "subtypes"]
