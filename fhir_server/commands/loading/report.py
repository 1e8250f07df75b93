"""What became of what was loaded: counts by type, and every failure with its place."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fhir_server.commands.loading.requests import Shipment
from fhir_server.commands.loading.targets import Reply
from fhir_server.errors import FhirError

Resource = dict[str, Any]

_MAY_SUCCEED_LATER = frozenset({404, 409, 412, 422})


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that did not go in; ``number`` is its entry in the shipment, ``None`` for the whole."""

    place: str
    reason: str
    status: int = 0

    @property
    def may_succeed_later(self) -> bool:
        """Whether it may only have lacked something that came after it."""
        return self.status in _MAY_SUCCEED_LATER


@dataclass(slots=True)
class Outcome:
    """What became of one or many shipments; grows as they are answered."""

    created: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    again: list[Shipment] = field(default_factory=list)
    """What to send once more when all else has been sent."""

    @property
    def resources(self) -> int:
        """How many resources are in the server now because of this."""
        return self.created.total() + self.present.total()

    def add(self, other: "Outcome") -> None:
        """Take in another outcome."""
        self.created.update(other.created)
        self.present.update(other.present)
        self.failures += other.failures
        self.again += other.again


def understand(shipment: Shipment, reply: Reply, *, last: bool) -> Outcome:
    """Return what a reply means; what may succeed later is only a failure on the ``last`` occasion."""
    outcome = Outcome()
    if reply.status >= 300 or reply.resource.get("resourceType") != "Bundle":
        if reply.status in _MAY_SUCCEED_LATER and not last:
            outcome.again.append(shipment)
        else:
            outcome.failures.extend(_refused(shipment, reply))
        return outcome
    later = []
    answers = reply.resource.get("entry") or []
    for number, (entry, answer) in enumerate(zip(shipment.bundle["entry"], answers, strict=False)):
        failure = _count(outcome, entry, answer.get("response") or {}, shipment.places[number])
        if failure is not None and failure.may_succeed_later and not last:
            later.append(number)
        elif failure is not None:
            outcome.failures.append(failure)
    if later:
        outcome.again.append(shipment.part(later, "batch"))
    return outcome


def describe(error: FhirError, language: str) -> str:
    """Return what an error of reading says, with places, in one line."""
    texts = (
        " ".join(filter(None, (issue.text.in_language(language), issue.diagnostics))) for issue in error.issues[:3]
    )
    return "; ".join(texts)


def _count(outcome: Outcome, entry: Resource, response: Resource, place: str) -> Failure | None:
    status = _status_of(response)
    kind = _type_of(entry)
    if status == 201:
        outcome.created[kind] += 1
    elif 200 <= status < 300:
        outcome.present[kind] += 1
    else:
        return Failure(place, " ".join(_texts(response.get("outcome") or {})) or f"{status}", status)
    return None


def _refused(shipment: Shipment, reply: Reply) -> Iterator[Failure]:
    """Yield the failure of a whole shipment; the places of its issues say which entries are to blame."""
    texts = list(_texts(reply.resource)) or [f"HTTP {reply.status}"]
    yield Failure(shipment.origin, " | ".join(texts[:5]), reply.status)


def _texts(outcome: Resource) -> Iterator[str]:
    for issue in outcome.get("issue") or []:
        text = (issue.get("details") or {}).get("text") or issue.get("code") or ""
        where = ", ".join(issue.get("expression") or [])
        more = issue.get("diagnostics") or ""
        yield " ".join(part for part in (where and f"{where}:", text, more) if part)


def _status_of(response: Resource) -> int:
    word = str(response.get("status", ""))[:3]
    return int(word) if word.isdigit() else 0


def _type_of(entry: Resource) -> str:
    resource = entry.get("resource")
    if isinstance(resource, dict):
        return str(resource.get("resourceType"))
    return str((entry.get("request") or {}).get("url", "")).partition("/")[0].partition("?")[0]
