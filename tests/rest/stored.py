"""Puts resources under ids that a test can name, and asks for the ids that a search finds."""

from typing import Any

from tests.rest.fhir import Fhir, Reply, entry


def put_all(fhir: Fhir, *resources: dict[str, Any]) -> None:
    """Store resources that carry their ids, in one transaction."""
    reply = fhir.transact(*(entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in resources))
    assert reply.status == 200, reply.content


def found(fhir: Fhir, query: str) -> str:
    """Return the ids that a search finds, in alphabetical order, joined by blanks."""
    reply = fhir.get(query)
    assert reply.status == 200, reply.content
    return " ".join(sorted(reply.ids))


def refused(fhir: Fhir, query: str) -> str:
    """Return the English text of what a search is refused for."""
    reply: Reply = fhir.get(query)
    assert reply.status == 400, reply.content
    return str(reply.issues[0]["details"]["text"] if "details" in reply.issues[0] else reply.issues[0]["diagnostics"])
