"""What is sent for a document: one transaction or batch whose repetition updates instead of duplicating.

A POST would make a new resource each time. So an entry that creates becomes a PUT to the id that the resource brings;
without one, to an id derived from its content. Entries with ``ifNoneExist`` are repeatable and stay as they are.
Spec: http://hl7.org/fhir/R4/bundle.html, http://hl7.org/fhir/R4/http.html#upsert
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.errors import Invalid, NotSupported, Text
from fhir_server.fhir.json import parse_json, to_json

Resource = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
_SPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
_UUID = re.compile(r"urn:uuid:([0-9a-fA-F-]{36})\Z")
_WHOLE = ("document", "message")
_CONTENTS = ("collection", "searchset")

_NOT_A_RESOURCE = Text("is not a FHIR resource", "n’est pas une ressource FHIR")
_HISTORY = Text(
    "A history Bundle cannot be loaded: it holds versions, not a state",
    "Un Bundle d’historique ne peut pas être chargé : il contient des versions, pas un état",
)


@dataclass(frozen=True, slots=True)
class Shipment:
    """One Bundle to send; ``places`` says for each entry where it came from."""

    bundle: Resource
    places: tuple[str, ...]

    @property
    def origin(self) -> str:
        """The file that it came from."""
        return self.places[0].partition(" entry[")[0] if self.places else ""

    def part(self, numbers: Sequence[int], type: str) -> "Shipment":
        """Return a Bundle of ``type`` with some of the entries."""
        entries = [self.bundle["entry"][number] for number in numbers]
        return Shipment(
            {"resourceType": "Bundle", "type": type, "entry": entries}, tuple(self.places[number] for number in numbers)
        )


def from_document(content: bytes, origin: str, *, as_is: bool) -> Shipment:
    """Return what to send for one JSON document. Raises ``Invalid`` when it holds nothing that can be loaded."""
    resource = _checked(parse_json(content))
    kind = resource.get("type") if resource["resourceType"] == "Bundle" else None
    if kind in ("transaction", "batch"):
        entries = [each for each in resource.get("entry") or [] if isinstance(each, dict)]
        bundle = {**resource, "entry": [each if as_is else repeatable(each) for each in entries]}
        return Shipment(bundle, _places(origin, entries))
    if kind in _CONTENTS:
        entries = [each for each in resource.get("entry") or [] if _holds_content(each)]
        return Shipment(_bundle("transaction", [_put(each) for each in entries]), _places(origin, entries))
    if kind is not None and kind not in _WHOLE:
        raise NotSupported(_HISTORY)
    return Shipment(_bundle("batch", [_put({"resource": resource})]), (origin,))


def from_lines(content: bytes, origin: str, first: int) -> tuple[Shipment, list[tuple[str, Invalid]]]:
    """Return what to send for lines with one resource each, and which lines hold none."""
    entries, places, problems = [], [], []
    for number, line in enumerate(content.split(b"\n"), first):
        if not line.strip():
            continue
        place = f"{origin}:{number}"
        try:
            entries.append(_put({"resource": _checked(parse_json(line))}))
            places.append(place)
        except Invalid as problem:
            problems.append((place, problem))
    return Shipment(_bundle("batch", entries), tuple(places)), problems


def repeatable(entry: Resource) -> Resource:
    """Return the entry, an unconditional POST of a resource turned into a PUT to a lasting id."""
    request = entry.get("request")
    resource = entry.get("resource")
    if not isinstance(request, dict) or not isinstance(resource, dict):
        return entry
    if (
        request.get("method") != "POST"
        or "ifNoneExist" in request
        or request.get("url") != resource.get("resourceType")
    ):
        return entry
    return _put(entry)


def _put(entry: Resource) -> Resource:
    resource = entry["resource"]
    id = _lasting_id(entry)
    if resource.get("id") != id:
        resource = {**resource, "id": id}
    kept = {name: value for name, value in entry.items() if name == "fullUrl"}
    return {**kept, "resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{id}"}}


def _lasting_id(entry: Resource) -> str:
    resource = entry["resource"]
    id = resource.get("id")
    if isinstance(id, str) and _ID.match(id):
        return id
    full_url = entry.get("fullUrl")
    match = _UUID.match(full_url) if isinstance(full_url, str) else None
    return match[1].lower() if match else str(uuid.uuid5(_SPACE, to_json(resource).decode()))


def _holds_content(entry: Any) -> bool:
    """Return whether an entry of a collection or searchset is a resource to keep, not a remark about the search."""
    if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
        return False
    search = entry.get("search")
    return not (isinstance(search, dict) and search.get("mode") == "outcome") and "resourceType" in entry["resource"]


def _checked(value: Any) -> Resource:
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise Invalid(_NOT_A_RESOURCE)
    return value


def _bundle(type: str, entries: list[Resource]) -> Resource:
    return {"resourceType": "Bundle", "type": type, "entry": entries}


def _places(origin: str, entries: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f"{origin} entry[{number}]" for number in range(len(entries)))
