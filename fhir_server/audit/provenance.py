"""Where data comes from: Provenances that a caller attaches to a write, and those that the server makes itself. Pure.

By itself the server notes what a holder or a court will ask about: who changed a label of confidentiality, who deleted,
who changed a consent, what a representative did for a child. Its Provenances bear the labels of what they tell of, so
that they show nothing that is hidden.
Spec: http://hl7.org/fhir/R4/provenance.html, http://hl7.org/fhir/R4/provenance.html#header
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.audit.codes import HIDDEN_FROM_REPRESENTATIVES, to_coding
from fhir_server.audit.legal_bases import (
    REPRESENTATION,
    TRACED,
    articles_of_consent,
    articles_of_labels,
    to_policy,
)
from fhir_server.errors import Invalid, Structure, Text
from fhir_server.fhir.datatypes import format_instant
from fhir_server.fhir.json import parse_json
from fhir_server.validation.structure import check_structure

Resource = dict[str, Any]

HEADER = "x-provenance"
REASON = "https://espace-sante.example/fhir/CodeSystem/provenance-reason"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}
_AGENTS = frozenset({"Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Device"})
_NO_RESOURCE = Text(
    "X-Provenance is a Provenance resource in JSON", "X-Provenance est une ressource Provenance en JSON"
)
_TARGET = Text(
    "X-Provenance has no target: the server fills in what the request writes",
    "X-Provenance n’a pas de target : le serveur y met ce que la requête écrit",
)


@dataclass(frozen=True, slots=True)
class Wrote:
    """One resource that is written: its action, what it becomes, whose it is, its labels before and after.

    ``version`` is the new one, ``before`` the number of the version it replaces, 0 for none.
    """

    action: str
    reference: str
    version: int
    before: int = 0
    patient: str | None = None
    labels_before: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    """Codes of its category, before and after: of what kind a Consent is."""

    @property
    def target(self) -> dict[str, str]:
        """The reference to the new version."""
        return {"reference": f"{self.reference}/_history/{self.version}"}


def parse_header(text: str) -> Resource:
    """Return the Provenance of the header, which lacks its target. Raises ``Invalid``."""
    try:
        given = parse_json(text.encode("utf-8", "surrogateescape"))
    except Structure:
        raise Invalid(_NO_RESOURCE, expression="http.X-Provenance") from None
    if not isinstance(given, dict) or given.get("resourceType") != "Provenance":
        raise Invalid(_NO_RESOURCE, expression="http.X-Provenance")
    if "target" in given:
        raise Invalid(_TARGET, expression="Provenance.target")
    return given


def build_attached(given: Resource, written: Sequence[Wrote], now: datetime) -> Resource:
    """Return the header's Provenance about all that is written. Raises ``Structure`` for what is wrong with it."""
    provenance = {
        "resourceType": "Provenance",
        "target": [one.target for one in written],
        "recorded": format_instant(now),
        **{name: value for name, value in given.items() if name not in ("id", "resourceType")},
    }
    labels = dict.fromkeys(label for one in written for label in (*one.labels_before, *one.labels))
    if labels:
        meta, told = given.get("meta", {}), [to_coding(label) for label in labels]
        kept = [one for one in meta.get("security", ()) if one not in told]
        provenance["meta"] = {**meta, "security": [*kept, *told]}
    issues = check_structure(provenance, expected_type="Provenance")
    if issues:
        raise Structure(issues)
    return provenance


def build_consequence(caller: Caller, article: str, reason: str) -> Resource:
    """Return what is to be ``build_attached`` to all that the server itself writes on account of a caller's act."""
    told = {
        "reason": _concepts([reason]),
        "policy": to_policy(article),
        "activity": {"coding": [{"system": _OPERATION, "code": "CREATE"}]},
        "agent": [{"type": _participant("performer"), "who": _who(caller)}],
    }
    hidden = {"security": [to_coding(HIDDEN_FROM_REPRESENTATIVES)]} if caller.secret else {}
    return {"resourceType": "Provenance", **({"meta": hidden} if hidden else {}), **told}


def build_provenances(caller: Caller, written: Iterable[Wrote], now: datetime) -> Iterator[tuple[Wrote, Resource]]:
    """Yield what the server has to note of its own accord, one Provenance for each resource concerned."""
    for one in written:
        reasons = _reasons(caller, one)
        if reasons:
            yield one, _provenance(caller, one, reasons, now)


def _reasons(caller: Caller, one: Wrote) -> list[str]:
    """Return why it must be noted, nothing if it need not. Who has no identity has none to note."""
    kind = one.reference.partition("/")[0]
    if caller.kind in ("open", "local") or kind in ("Provenance", "AuditEvent"):
        return []
    changed = one.action in ("update", "patch") and set(one.labels_before) != set(one.labels)
    reasons = {
        "label-change": changed,
        "deletion": one.action == "delete",
        "consent-change": kind == "Consent",
        "representative-action": caller.kind == "representative",
    }
    return [name for name, given in reasons.items() if given]


def _provenance(caller: Caller, one: Wrote, reasons: Sequence[str], now: datetime) -> Resource:
    labels = dict.fromkeys((*one.labels_before, *one.labels))
    if caller.secret:
        labels[HIDDEN_FROM_REPRESENTATIVES] = None
    agent: Resource = {"type": _participant("author" if one.action == "create" else "performer"), "who": _who(caller)}
    if caller.kind == "representative" and one.patient is not None:
        agent["onBehalfOf"] = {"reference": one.patient}
    provenance: Resource = {
        "resourceType": "Provenance",
        "target": [one.target],
        "recorded": format_instant(now),
        "policy": to_policy(*_articles(one, reasons)),
        "reason": _concepts(reasons),
        "activity": {"coding": [{"system": _OPERATION, "code": _OPERATIONS[one.action]}]},
        "agent": [agent],
    }
    if labels:
        provenance["meta"] = {"security": [to_coding(label) for label in labels]}
    if one.before:
        previous = {"reference": f"{one.reference}/_history/{one.before}"}
        provenance["entity"] = [{"role": "revision", "what": previous}]
    return provenance


def _articles(one: Wrote, reasons: Sequence[str]) -> Iterator[str]:
    """Yield by which articles it was done, as far as the law speaks of it; that it is traced, in any case."""
    for reason in reasons:
        match reason:
            case "label-change":
                yield from articles_of_labels(set(one.labels_before) ^ set(one.labels))
            case "consent-change":
                yield from articles_of_consent(one.categories)
            case "representative-action":
                yield REPRESENTATION
    yield TRACED


def _concepts(reasons: Iterable[str]) -> list[Resource]:
    return [{"coding": [{"system": REASON, "code": reason}]} for reason in reasons]


def _participant(code: str) -> Resource:
    return {"coding": [{"system": _PARTICIPANT, "code": code}]}


def _who(caller: Caller) -> Mapping[str, Any]:
    who: Resource = {}
    if caller.user and caller.user.partition("/")[0] in _AGENTS:
        who["reference"] = caller.user
    elif caller.user:
        who["identifier"] = {"value": caller.user.partition("/")[2]}
    elif caller.organization:
        who["reference"] = caller.organization
    else:
        who["identifier"] = {"value": caller.client_id or caller.kind}
    display = caller.user_name or caller.client_name
    return {**who, "display": display} if display else who
