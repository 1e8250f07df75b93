"""Reads what a policy needs to know of the records that matter to a caller: as of this request, never from a cache.

One round trip for the records of one patient or of many; one more to find out which records a professional without a
patient in context takes part in, and one for emergencies that they have declared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.access.care_circle import is_attending, members_in_force
from fhir_server.access.consents import effects_of
from fhir_server.access.facts import Facts, RecordFacts, caller_keys, personal_keys
from fhir_server.access.identities import name_of
from fhir_server.access.naming import naming
from fhir_server.access.representation import is_adult, is_representative
from fhir_server.errors import Text, TooCostly
from fhir_server.fhir.json import parse_stored
from fhir_server.repository.open_records import OpenRecords
from fhir_server.search.ast import Node, PatientIs, ReferenceIs, TokenIn
from fhir_server.search.building import build_and, build_or
from fhir_server.search.compiler import to_filter
from fhir_server.search.param_types.token import code_key
from fhir_server.storage.records import Records
from fhir_server.storage.store import Document, Query, Store

EMERGENCIES = "emergencies"
"""Emergency accesses declared: ``{_id, keys, patient, mode, until}``."""
MOST_RECORDS = 5_000
_NAMING_IN_ONE = 4
"""Consents and care circles that name a professional: so many for each record are looked at."""
_INACTIVE = b'"active":false'
"""Without this in it, as stored, no Patient is inactive; with it, one has to look closer."""
_NAMED_IN = ("Consent.actor", "CareTeam.participant")
_ACTIVE = TokenIn((code_key("Consent.status", "active"), code_key("CareTeam.status", "active")))


@dataclass(slots=True)
class FactsReader:
    """The facts of one request; each record is read once."""

    store: Store
    records: Records
    caller: Caller
    now: datetime
    base_url: str
    open_records: OpenRecords = field(default_factory=OpenRecords)
    most_records: int = MOST_RECORDS
    _known: dict[str, RecordFacts | None] = field(default_factory=dict)
    _declared: dict[str, str] | None = None
    _gathered: dict[tuple[str, ...] | None, Facts] = field(default_factory=dict)

    def __call__(self, patients: Sequence[str] | None) -> Facts:
        """Return the facts about these patients' records; None: about those that the caller may know of.

        Raises ``TooCostly`` when these are too many to be looked at.
        """
        asked = None if patients is None else tuple(patients)
        found = self._gathered.get(asked)
        if found is None:
            self._believe()
            wanted = self._own() if asked is None else asked
            self._read([one for one in wanted if one not in self._known])
            records = tuple(record for one in wanted if (record := self._known[one]) is not None)
            found = self._gathered[asked] = Facts(self.caller, records, self.base_url)
        return found

    @property
    def own_record(self) -> str | None:
        """The Patient that everything about a patient's own requests hangs on, ``Patient/id``; None once it is read.

        A read may bring it along and hand it to ``take``, which saves a round trip.
        """
        own = self._believe()
        return None if own in self._known else own

    def _believe(self) -> str | None:
        """Return the holder's own record, which is known to be open if it was found so just now; None for others."""
        if self.caller.kind != "patient" or self.caller.patient is None:
            return None
        own = f"Patient/{self.caller.patient}"
        if own not in self._known and self.open_records.has(own):
            self._known[own] = _open_record(own)
        return own

    def take(self, own: str, document: Document | None, asked: float) -> None:
        """Take in what ``own_record`` has asked for, by a look that began at ``asked``."""
        if document is not None and document.body is not None and _INACTIVE not in document.body:
            self._known[own] = _open_record(own)  # not parsed: this is all that matters of one's own record
            self.open_records.note(own, asked)
        else:
            self._known[own] = self._record(own, _parsed(document), "")

    def _own(self) -> tuple[str, ...]:
        if self.caller.patient is not None:
            return (f"Patient/{self.caller.patient}",)
        return self._taking_part() if self.caller.kind == "professional" else ()

    def _taking_part(self) -> tuple[str, ...]:
        """Return the patients whose consents, care circle or declared emergencies name the caller."""
        tree = build_and([_ACTIVE, naming(self.caller, _NAMED_IN)])
        most = self.most_records * _NAMING_IN_ONE
        query = Query(to_filter(tree), (), most + 1, with_body=False)
        naming_caller = self.store.find(query)
        found = dict.fromkeys(one.index["pt"] for one in naming_caller if "pt" in one.index)
        # Beyond either bound there may be records that nothing of this tells of: none must be left out in silence.
        if len(found) > self.most_records or len(naming_caller) > most:
            raise TooCostly(_TOO_MANY)
        return tuple(dict.fromkeys([*found, *self._emergencies()]))

    def _read(self, patients: Sequence[str]) -> None:
        if not patients:
            return
        if self.caller.kind == "patient" and list(patients) == [own := f"Patient/{self.caller.patient}"]:
            asked = self.open_records.clock()
            self.take(own, self.store.get(own), asked)
            return
        resources: dict[str, list[dict[str, Any]]] = {one: [] for one in patients}
        for document in self._documents(patients):
            if document.index.get("pt") in resources and document.body is not None:
                resources[document.index["pt"]].append(parse_stored(document.body))
        emergencies = self._emergencies() if self.caller.kind == "professional" else {}
        for one, found in resources.items():
            self._known[one] = self._record(one, found, emergencies.get(one, ""))

    def _documents(self, patients: Sequence[str]) -> list[Document]:
        """Return the resources that tell of the records; the record alone by the shortest way, and of many at once."""
        if self.caller.kind in ("professional", "representative") or len(patients) > 1:
            return self.store.find(Query(to_filter(self._tree(patients)), ()))
        found = self.store.get(patients[0])
        return [found] if found is not None and not found.deleted else []

    def _tree(self, patients: Sequence[str]) -> Node:
        itself = ReferenceIs(tuple(patients))
        match self.caller.kind:
            case "professional":
                return build_or([itself, build_and([PatientIs(tuple(patients)), _ACTIVE])])
            case "representative" if self.caller.user is not None:
                return ReferenceIs((*patients, self.caller.user))
            case _:
                return itself

    def _record(self, reference: str, found: Iterable[dict[str, Any]], emergency: str) -> RecordFacts | None:
        by_type: dict[str, list[dict[str, Any]]] = {}
        for resource in found:
            by_type.setdefault(resource["resourceType"], []).append(resource)
        if "Patient" not in by_type:
            return None
        patient = by_type["Patient"][0]
        circles = by_type.get("CareTeam", ())
        return RecordFacts(
            reference,
            open=patient.get("active") is not False,
            adult=is_adult(patient, self.now),
            represented=any(is_representative(one, patient, self.now) for one in by_type.get("RelatedPerson", ())),
            care_team=any(members_in_force(circle, self._is_caller, self.now) for circle in circles),
            general_practitioner=any(
                is_attending(member)
                for circle in circles
                for member in members_in_force(circle, self._is_caller_in_person, self.now)
            ),
            emergency=emergency,
            effects=effects_of(by_type.get("Consent", ()), self._is_caller, self.now),
        )

    def _is_caller(self, reference: Mapping[str, Any]) -> bool:
        return name_of(reference) in caller_keys(self.caller)

    def _is_caller_in_person(self, reference: Mapping[str, Any]) -> bool:
        return name_of(reference) in personal_keys(self.caller)

    def _emergencies(self) -> dict[str, str]:
        if self._declared is None:
            self._declared = self._read_emergencies()
        return self._declared

    def _read_emergencies(self) -> dict[str, str]:
        keys = list(personal_keys(self.caller))
        filter = {"keys": {"$in": keys}, "until": {"$gt": self.now}}
        return {one["patient"]: one["mode"] for one in self.records.find(EMERGENCIES, filter, (("until", 1),))}


@lru_cache(maxsize=4_096)
def _open_record(patient: str) -> RecordFacts:
    """Return what matters of a holder's own record; the same for all their requests, so that it compares at once."""
    return RecordFacts(patient)


def _parsed(document: Document | None) -> list[dict[str, Any]]:
    return [] if document is None or document.body is None else [parse_stored(document.body)]


_TOO_MANY = Text(
    f"You take part in the care of more than {MOST_RECORDS} patients, or are named in their consents and care"
    f" circles {_NAMING_IN_ONE} times as often: ask for a token for one patient",
    f"Vous participez à la prise en charge de plus de {MOST_RECORDS} patients, ou êtes nommé dans leurs"
    f" consentements et cercles de soins {_NAMING_IN_ONE} fois plus souvent : demandez un jeton pour un patient",
)
