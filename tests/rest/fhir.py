"""A small FHIR client over a WSGI application, for tests that read like requests."""

import json
from dataclasses import dataclass
from typing import Any

from werkzeug.test import Client

FHIR_JSON = "application/fhir+json"


@dataclass
class Reply:
    """One answer: ``body`` is the parsed JSON, ``content`` the bytes."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The parsed JSON body."""
        return json.loads(self.content)

    @property
    def issues(self) -> list[dict[str, Any]]:
        """The issues of an OperationOutcome."""
        assert self.body["resourceType"] == "OperationOutcome", self.content
        return list(self.body["issue"])

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources of a Bundle's entries."""
        return [entry["resource"] for entry in self.body.get("entry", []) if "resource" in entry]

    @property
    def ids(self) -> list[str]:
        """The ids of a Bundle's resources, in order."""
        return [resource["id"] for resource in self.resources]

    def link(self, relation: str) -> str | None:
        """The url of a Bundle's link."""
        found = [link["url"] for link in self.body["link"] if link["relation"] == relation]
        return found[0] if found else None


class Fhir:
    """Sends requests to ``/fhir`` of an application; a dict as body goes out as FHIR JSON."""

    def __init__(self, application: Any) -> None:
        self._client = Client(application)

    def send(self, method: str, path: str = "", body: Any = None, **headers: str) -> Reply:
        """Send one request; header names are written with underscores (``If_Match``)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes | str):
            body = json.dumps(body)
            sent.setdefault("Content-Type", FHIR_JSON)
        sent.setdefault("Accept", FHIR_JSON)
        url = path if path.startswith("http") else f"/fhir/{path}" if path else "/fhir"
        answer = self._client.open(url, method=method, data=body, headers=sent)
        return Reply(answer.status_code, dict(answer.headers), answer.get_data())

    def get(self, path: str = "", **headers: str) -> Reply:
        """GET."""
        return self.send("GET", path, **headers)

    def post(self, path: str = "", body: Any = None, **headers: str) -> Reply:
        """POST."""
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Reply:
        """PUT."""
        return self.send("PUT", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Reply:
        """PATCH."""
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Reply:
        """DELETE."""
        return self.send("DELETE", path, **headers)

    def create(self, resource: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Create a resource and return it as stored."""
        reply = self.post(resource["resourceType"], resource, **headers)
        assert reply.status == 201, reply.content
        return dict(reply.body)

    def transact(self, *entries: dict[str, Any], kind: str = "transaction", **headers: str) -> Reply:
        """Post a transaction (or batch) of these entries."""
        return self.post("", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}, **headers)


def entry(method: str, url: str, resource: Any = None, full_url: str | None = None, **request: str) -> dict[str, Any]:
    """Return a Bundle entry."""
    built: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        built["resource"] = resource
    if full_url is not None:
        built["fullUrl"] = full_url
    return built


def patient(**more: Any) -> dict[str, Any]:
    """Return a Patient."""
    return {"resourceType": "Patient", **more}


def observation(subject: str | None = None, **more: Any) -> dict[str, Any]:
    """Return an Observation, of a subject if one is given."""
    built = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}
    return built if subject is None else {**built, "subject": {"reference": subject}}
