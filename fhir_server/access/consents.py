"""What a Consent permits or denies to one caller, as conditions on resources.

IHE PCF's shape: one provision, one level of nested exceptions. What a provision says that cannot be decided on one
resource makes it narrower where it permits and wider where it denies.
Spec: http://hl7.org/fhir/R4/consent.html, https://profiles.ihe.net/ITI/PCF/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhir_server.access.identities import name_of
from fhir_server.access.periods import covers
from fhir_server.fhir.datatypes import date_range, parse_instant
from fhir_server.search.ast import Everything, HasLabel, Node, Nothing, OwnedBy, PointsTo, ReferenceIs
from fhir_server.search.building import build_and, build_not, build_or

_UNDECIDED = ("class", "code", "action", "dataPeriod")
"""Parts of a provision by which one resource cannot be told from another here (PCF leaves most of them out)."""
_NESTED_TYPE = {"permit": "deny", "deny": "permit"}


@dataclass(frozen=True, slots=True)
class Effect:
    """One provision that concerns the caller now; without conditions it is about the whole record.

    ``purposes`` are codes of v3-ActReason (empty: any); ``instances`` are resources by ``Type/id``, ``related`` those
    with what refers to them, ``authors`` owners' keys, ``labels`` ``system|code``. ``undecided``: it says more than
    can be decided.
    """

    permits: bool
    purposes: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    undecided: bool = False

    def condition(self) -> Node:
        """Return the tree of what the provision is about, within the record."""
        if self.undecided and self.permits:
            return Nothing()
        data: list[Node] = []
        if self.instances or self.related:
            data.append(ReferenceIs((*self.instances, *self.related)))
        if self.related:
            data.append(PointsTo(self.related))
        if self.authors:
            data.append(OwnedBy(self.authors))
        labels = HasLabel(self.labels) if self.labels else Everything()
        return build_and([build_or(data) if data else Everything(), labels])


def prevail(base: Node, effects: Iterable[Effect], purpose: str) -> Node:
    """Return what may be seen of a record: ``base``, changed by each effect in turn, so that the latest prevails."""
    tree = base
    for effect in effects:
        if effect.purposes and purpose not in effect.purposes:
            continue
        condition = effect.condition()
        tree = build_or([tree, condition]) if effect.permits else build_and([tree, build_not(condition)])
    return tree


def effects_of(
    consents: Iterable[Mapping[str, Any]], is_caller: Callable[[Mapping[str, Any]], bool], now: datetime
) -> tuple[Effect, ...]:
    """Return the effects of the active consents on the caller, the oldest first.

    ``is_caller`` tells whether a Reference (literal or by identifier) means the caller or their structure.
    """
    ordered = sorted(filter(_is_in_force, consents), key=_order)
    return tuple(effect for consent in ordered for effect in _effects(consent, is_caller, now))


def _is_in_force(consent: Mapping[str, Any]) -> bool:
    scopes = {coding.get("code") for coding in consent.get("scope", {}).get("coding", ())}
    return consent.get("status") == "active" and "patient-privacy" in scopes


def _order(consent: Mapping[str, Any]) -> tuple[datetime, str, str]:
    """Return the place of a consent: by when it was given, at the end of the day if no hour is said.

    That is never later than when it was written down.
    """
    stated = date_range(consent["dateTime"])[1] if consent.get("dateTime") else datetime.min.replace(tzinfo=UTC)
    written = consent.get("meta", {}).get("lastUpdated", "")
    # Otherwise whoever dates theirs ahead would prevail over all that the holder decides until then.
    given = min(stated, parse_instant(written)) if written else stated
    return given, written, consent.get("id", "")


def _effects(
    consent: Mapping[str, Any], is_caller: Callable[[Mapping[str, Any]], bool], now: datetime
) -> Iterator[Effect]:
    root = consent.get("provision")
    if not root or not _concerns(root, is_caller, now):
        return
    kind = root.get("type") or "deny"
    effect = _effect(root, permits=kind == "permit")
    yield effect
    for nested in root.get("provision", ()):
        if not _concerns(nested, is_caller, now):
            continue
        permits = (nested.get("type") or _NESTED_TYPE[kind]) == "permit"
        yield _within(effect, _effect(nested, permits=permits, deeper=bool(nested.get("provision"))))


def _concerns(provision: Mapping[str, Any], is_caller: Callable[[Mapping[str, Any]], bool], now: datetime) -> bool:
    if not covers(provision.get("period", {}), now):
        return False
    actors = provision.get("actor", ())
    return not actors or any(is_caller(actor.get("reference", {})) for actor in actors)


def _effect(provision: Mapping[str, Any], *, permits: bool, deeper: bool = False) -> Effect:
    data = provision.get("data", ())
    meant = {kind: tuple(_references(data, kind)) for kind in ("instance", "related", "dependents", "authoredby")}
    labels = tuple(f"{label.get('system', '')}|{label.get('code', '')}" for label in provision.get("securityLabel", ()))
    unknown = any(one.get("meaning") not in meant or not name_of(one.get("reference", {})) for one in data)
    if unknown and not permits:
        meant = dict.fromkeys(meant, ())  # what is denied besides the data that are understood is denied too
    return Effect(
        permits,
        tuple(purpose.get("code", "") for purpose in provision.get("purpose", ())),
        meant["instance"],
        (*meant["related"], *meant["dependents"]),
        meant["authoredby"],
        labels,
        undecided=deeper or unknown or any(name in provision for name in _UNDECIDED),
    )


def _within(outer: Effect, inner: Effect) -> Effect:
    """Return the exception narrowed to the provision it stands in; two lists of data cannot be met: undecided."""
    has_data = bool(outer.instances or outer.related or outer.authors)
    return Effect(
        inner.permits,
        inner.purposes or outer.purposes,
        inner.instances or outer.instances,
        inner.related or outer.related,
        inner.authors or outer.authors,
        (*outer.labels, *inner.labels) if not (outer.labels and inner.labels) else inner.labels,
        undecided=outer.undecided
        or inner.undecided
        or (has_data and bool(inner.instances or inner.related or inner.authors))
        or bool(outer.labels and inner.labels),
    )


def _references(data: Iterable[Mapping[str, Any]], meaning: str) -> Iterator[str]:
    for one in data:
        if one.get("meaning") == meaning and (name := name_of(one.get("reference", {}))):
            yield name
