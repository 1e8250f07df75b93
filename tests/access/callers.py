"""Callers of every kind, and a client that asks as one of them through the real gateway and repository."""

from collections.abc import Callable
from typing import Any

from fhir_server.access.caller import LOCAL_CALLER, Caller
from fhir_server.access.scopes import parse_scopes
from fhir_server.app import Composition, build_app
from tests.rest.fhir import Fhir

IDNAT = "urn:oid:1.2.250.1.71.4.2.1"
STRUCTURE = "urn:oid:1.2.250.1.71.4.2.2"
ALL_OF_PATIENT, ALL_OF_USER, ALL_OF_SYSTEM = (
    parse_scopes(f"{one}/*.cruds").scopes for one in ("patient", "user", "system")
)


def patient(id: str, **more: Any) -> Caller:
    return Caller(
        f"patient-{id}", "patient", "app", user=f"Patient/{id}", patient=id, **{"scopes": ALL_OF_PATIENT, **more}
    )


def representative(id: str, related_person: str, **more: Any) -> Caller:
    user = f"RelatedPerson/{related_person}"
    fixed = {"user": user, "patient": id, "scopes": ALL_OF_PATIENT}
    return Caller(f"representative-{related_person}", "representative", "app", **{**fixed, **more})


def professional(id: str, number: str, profession: str = "10", **more: Any) -> Caller:
    fixed = {"user": f"Practitioner/{id}", "identifiers": (f"{IDNAT}|{number}",), "profession": profession}
    return Caller(f"professional-{id}", "professional", "lps", **{**fixed, "scopes": ALL_OF_USER, **more})


def backend(id: str, **more: Any) -> Caller:
    fixed = {"organization": f"Organization/{id}", "scopes": ALL_OF_SYSTEM}
    return Caller(f"system-{id}", "system", f"client-{id}", **{**fixed, **more})


def operator(**more: Any) -> Caller:
    return Caller("operator", "operator", "portal", **{"scopes": ALL_OF_USER, **more})


class World:
    """One server; ``ask(caller)`` is a client that the gateway takes for that caller."""

    def __init__(self, composition: Composition) -> None:
        self.composition = composition
        self._caller = LOCAL_CALLER
        self._fhir = Fhir(build_app(composition, authenticate=lambda environ: self._caller))

    def ask(self, caller: Caller) -> Fhir:
        """Return the client; it speaks as ``caller`` until the next call of ``ask``."""
        self._caller = caller
        return self._fhir

    @property
    def local(self) -> Fhir:
        """The server's own command line."""
        return self.ask(LOCAL_CALLER)

    def put(self, *resources: dict[str, Any]) -> None:
        """Store resources under their own ids, unhindered."""
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in resources
        ]
        reply = self.local.transact(*entries)
        assert reply.status == 200, reply.content


MakeWorld = Callable[..., World]
