"""Requests of every kind, drawn from a seed: what is asked does not depend on what the caller may see."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.access.records import concept, consent, document, of, resource
from tests.access.two_worlds.population import PATIENTS, observation

FHIRPATH_PATCH = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
OBS = "http://example.org/obs"
IDS = "http://example.org/ids"

TYPES = (
    "Observation", "Observation", "Observation", "DocumentReference", "DocumentReference", "Patient", "Condition",
    "Encounter", "MedicationStatement", "DiagnosticReport", "List", "Provenance", "Communication", "Task",
    "FamilyMemberHistory", "Consent", "CareTeam", "RelatedPerson", "Practitioner", "Organization", "Binary",
    "AuditEvent", "Location",
)  # fmt: skip
WRITTEN = ("Observation", "Condition", "DocumentReference", "MedicationStatement", "Task", "List")


@dataclass(frozen=True)
class Asked:
    """One request. In paths and bodies ``{updated:…}`` stands for a time, ``{made:n}`` for what was created before."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Drawing:
    """Draws requests about these references, of which some are hidden and some are nowhere."""

    def __init__(self, seed: int, references: Sequence[str], anchors: Sequence[str]) -> None:
        self.draw = random.Random(seed)
        self._by_type: dict[str, list[str]] = {}
        for one in references:
            self._by_type.setdefault(one.partition("/")[0], []).append(one)
        self._anchors = [*anchors, "Patient/nowhere"]

    def request(self) -> Asked:
        """Return the next request."""
        families: tuple[tuple[int, Callable[[], Asked]], ...] = (
            (16, self._read), (8, self._vread), (9, self._history), (44, self._search), (6, self._compartment),
            (4, self._system), (3, self._meta), (8, self._create), (7, self._update), (5, self._patch),
            (5, self._delete), (8, self._conditional), (7, self._bundle), (1, self._odd), (4, self._rewrite),
        )  # fmt: skip
        weights = [weight for weight, _ in families]
        return self.draw.choices([family for _, family in families], weights)[0]()

    def reference(self, kind: str | None = None) -> str:
        """Return what is there for somebody, or nowhere."""
        kind = kind or self.draw.choice(TYPES)
        if self.draw.random() < 0.12:
            return f"{kind}/nowhere-{self.draw.randrange(3)}"
        if self.draw.random() < 0.12:
            return f"{{made:{self.draw.randrange(40)}:{kind}}}"
        return self.draw.choice(self._by_type.get(kind) or [f"{kind}/none"])

    def _read(self) -> Asked:
        headers = self.draw.choice(
            ({}, {}, {}, {"If_None_Match": 'W/"1"'}, {"If_Modified_Since": "Wed, 21 Oct 2099 07:28:00 GMT"},
             {"Accept": "*/*"}, {"Accept": "application/fhir+xml"})
        )  # fmt: skip
        query = self.draw.choice(("", "", "", "?_summary=true", "?_elements=status,subject", "?_summary=count"))
        return Asked(self.draw.choice(("GET", "GET", "GET", "HEAD")), self.reference() + query, headers=headers)

    def _vread(self) -> Asked:
        return Asked("GET", f"{self.reference()}/_history/{self.draw.randrange(1, 4)}")

    def _history(self) -> Asked:
        pick = self.draw.choice
        path = pick((self.reference(), self.reference(), pick(TYPES), "")) + "/_history"
        anchor = self.draw.choice(self._anchors)
        query = pick(
            ("", "", "_count=1", "_count=3", "_count=0", "_since=2020-01-01T00:00:00Z", "_since=2099-01-01T00:00:00Z",
             "_at=2099-01-01", f"_since={{updated:{anchor}}}&_count=5", f"_at={{updated:{anchor}}}",
             "_count=2&_since=2020-01-01T00:00:00Z")
        )  # fmt: skip
        if path.startswith("AuditEvent") and "updated" in query:
            query = ""  # the trail goes on while the worlds are asked one after the other: at no instant is it the same
        return Asked("GET", f"{path.lstrip('/')}{'?' if query else ''}{query}")

    def _search(self) -> Asked:
        kind = self.draw.choice(tuple(SEARCHES))
        count = self.draw.choice((1, 1, 1, 2, 2, 3))
        parts = [self._condition(kind) for _ in range(count)]
        parts += self.draw.sample(RESULTS, self.draw.choice((0, 1, 1, 2)))
        if self.draw.random() < 0.25:
            parts.append(self.draw.choice(SORTS[kind]))
        if self.draw.random() < 0.3:
            parts += self.draw.choices(INCLUDES.get(kind, ("_include=*",)), k=self.draw.choice((1, 1, 2)))
        query = "&".join(dict.fromkeys(parts))
        if self.draw.random() < 0.15:
            form = "application/x-www-form-urlencoded"
            return Asked("POST", f"{kind}/_search", query, {"Content_Type": form})
        return Asked("GET", f"{kind}?{query}")

    def _condition(self, kind: str) -> str:
        text = self.draw.choice(SEARCHES[kind] + COMMON)
        while "<" in text:
            before, _, rest = text.partition("<")
            wanted, _, after = rest.partition(">")
            found = self.draw.choice(self._anchors) if wanted == "!" else self.reference(wanted or None)
            text = f"{before}{found}{after}"
        return text.replace("@", self.draw.choice(PATIENTS)).replace("#", str(self.draw.randrange(10)))

    def _compartment(self) -> Asked:
        owner = self.draw.choice(("Patient", "Patient", "Practitioner", "Encounter"))
        member = self.draw.choice(("Observation", "*", "Condition", "DocumentReference", "Communication", "List"))
        query = self.draw.choice(("", "?_summary=count", "?_total=accurate&_count=2", "?_count=3&_sort=-_lastUpdated"))
        return Asked("GET", f"{self.reference(owner)}/{member}{query}")

    def _system(self) -> Asked:
        query = self.draw.choice(
            ("_type=Observation,Condition", "_type=Patient,DocumentReference&_total=accurate&_count=3",
             "_lastUpdated=gt2020-01-01&_summary=count", f"_id={self.reference().partition('/')[2]}",
             "_type=List,Task&_sort=-_lastUpdated&_count=4", "_type=Condition&_include=*&_total=accurate",
             "_security=http://x|y", "_text=note", "_type=Observation&_content=mesure")
        )  # fmt: skip
        return Asked("GET", f"?{query}")

    def _meta(self) -> Asked:
        code = self.draw.choice(("$meta", "$meta-add", "$meta-delete"))
        tag = {"tag": [{"system": "http://example.org/tags", "code": self.draw.choice("abc")}]}
        body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": tag}]}
        if code == "$meta":
            return Asked("GET", f"{self.reference()}/{self.draw.choice(('', '', '_history/1/'))}{code}")
        return Asked("POST", f"{self.reference()}/{code}", body)

    def _new(self, kind: str | None = None) -> dict[str, Any]:
        kind = kind or self.draw.choice(WRITTEN)
        patient = self.draw.choice(PATIENTS)
        subject = of(self.draw.choice((f"Patient/{patient}", f"Patient/{patient}", self.reference("Patient"))))
        labels = self.draw.choice(((), (), (), ("MASQUE_PS",), ("INVISIBLE_PATIENT",)))
        match kind:
            case "Observation":
                links = {"focus": [of(self.reference())]} if self.draw.random() < 0.5 else {}
                made = observation(patient, self.draw.randrange(10), *labels, **{"subject": subject, **links})
                made = {
                    name: value for name, value in made.items() if name not in ("encounter", "derivedFrom", "hasMember")
                }
            case "Condition":
                made = resource("Condition/x", subject=subject, evidence=[{"detail": [of(self.reference())]}])
            case "DocumentReference":
                made = document("x", patient, *labels, content=[{"attachment": {"url": self.reference("Binary")}}])
            case "MedicationStatement":
                made = resource(
                    "MedicationStatement/x",
                    status="active",
                    subject=subject,
                    medicationCodeableConcept=concept("x"),
                    reasonReference=[of(self.reference("Condition"))],
                )
            case "Task":
                made = resource(
                    "Task/x", status="requested", intent="order", focus=of(self.reference()), **{"for": subject}
                )
            case _:
                entries = [{"item": of(self.reference())} for _ in range(2)]
                made = resource("List/x", status="current", mode="working", subject=subject, entry=entries)
        return {name: value for name, value in made.items() if name != "id"}

    def _create(self) -> Asked:
        if self.draw.random() < 0.2:
            return self._rights()
        made = self._new()
        return Asked("POST", made["resourceType"], made)

    def _rights(self) -> Asked:
        number = self.draw.choice(("899700218896", "899700000055"))
        patient = self.draw.choice(PATIENTS)
        made = self.draw.choice(
            (consent("x", patient, "permit", number, period={"end": "2020-01-01"}),
             resource("Provenance/x", target=[of(self.reference())], recorded="2025-01-01T00:00:00Z",
                      agent=[{"who": of(self.reference("Practitioner"))}]),
             resource("SearchParameter/x", url="http://example.org/sp", name="x", status="draft", description="x",
                      code="x", base=["Patient"], type="token", expression="Patient.active"),
             resource("Organization/x", name="x", partOf=of(self.reference("Organization"))),
             resource("Schedule/x", actor=[of(self.reference("Patient"))]))
        )  # fmt: skip
        return Asked("POST", made["resourceType"], {name: value for name, value in made.items() if name != "id"})

    def _update(self) -> Asked:
        kind = self.draw.choice((*WRITTEN, "Patient", "Schedule", "Organization"))
        target = self.reference(kind)
        made = self._new(kind) if kind in WRITTEN else resource(f"{kind}/x", name=[{"family": "x"}])
        if kind in ("Schedule", "Organization"):
            made = resource(f"{kind}/x", **({"actor": [of("Location/ward")]} if kind == "Schedule" else {"name": "x"}))
        return Asked("PUT", target, {**made, "id": target.partition("/")[2]}, self._if_match())

    def _rewrite(self) -> Asked:
        """Write back what was read, as it is or changed in a part that lists others."""
        change = self.draw.choice(
            ({}, {"language": "fr"}, {"entry": [{"item": of(self.reference("DocumentReference"))}]},
             {"relatesTo": [{"code": "appends", "target": of(self.reference("DocumentReference"))}]},
             {"evidence": [{"detail": [of(self.reference("Observation"))]}]}, {"hasMember": None}, {"relatesTo": None})
        )  # fmt: skip
        return Asked("REWRITE", self.reference(self.draw.choice((*WRITTEN, "DocumentReference", "List"))), change)

    def _if_match(self) -> dict[str, str]:
        return self.draw.choice(({}, {}, {}, {"If_Match": 'W/"1"'}, {"If_Match": 'W/"7"'}, {"If_None_Match": "*"}))

    def _patch(self) -> Asked:
        target = self.reference(self.draw.choice((*WRITTEN, "Patient")))
        if self.draw.random() < 0.5:
            operations = self.draw.choice(
                ([{"op": "add", "path": "/language", "value": "fr"}],
                 [{"op": "test", "path": "/status", "value": "final"}],
                 [{"op": "replace", "path": "/subject/reference", "value": "Patient/luc"}],
                 [{"op": "test", "path": f"/entry/{self.draw.randrange(4)}/item/reference",
                   "value": self.reference("DocumentReference")}, {"op": "add", "path": "/language", "value": "fr"}],
                 [{"op": "remove", "path": f"/entry/{self.draw.randrange(4)}"}],
                 [{"op": "remove", "path": "/relatesTo"}],
                 [{"op": "add", "path": "/entry/-", "value": {"item": of(self.reference("DocumentReference"))}}])
            )  # fmt: skip
            return Asked("PATCH", target, operations, {"Content_Type": JSON_PATCH, **self._if_match()})
        parts = [
            {"name": "type", "valueCode": "add"},
            {"name": "path", "valueString": target.partition("/")[0]},
            {"name": "name", "valueString": "language"},
            {"name": "value", "valueCode": "en"},
        ]
        body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        return Asked("PATCH", target, body, {"Content_Type": FHIRPATH_PATCH, **self._if_match()})

    def _delete(self) -> Asked:
        headers = {name: value for name, value in self._if_match().items() if name == "If_Match"}
        return Asked(
            "DELETE", self.reference(self.draw.choice((*WRITTEN, "Encounter", "Binary", "Patient"))), None, headers
        )

    def _criteria(self, kind: str) -> str:
        return self._condition(kind)

    def _conditional(self) -> Asked:
        kind = self.draw.choice(("Observation", "Observation", "Condition", "DocumentReference"))
        criteria = self._criteria(kind)
        match self.draw.randrange(4):
            case 0:
                return Asked("POST", kind, self._new(kind), {"If_None_Exist": criteria})
            case 1:
                made = self._new(kind)
                if self.draw.random() < 0.4:
                    made["id"] = self.reference(kind).partition("/")[2]
                return Asked("PUT", f"{kind}?{criteria}", made)
            case 2:
                operations = [{"op": "add", "path": "/language", "value": "fr"}]
                return Asked("PATCH", f"{kind}?{criteria}", operations, {"Content_Type": JSON_PATCH})
            case _:
                return Asked("DELETE", f"{kind}?{criteria}")

    def _bundle(self) -> Asked:
        kind = self.draw.choice(("batch", "transaction", "transaction"))
        entries, created = [], set()
        for number in range(self.draw.randrange(1, 5)):
            one = self._entry(number)
            if one["request"]["method"] == "POST":
                if one["request"]["url"] in created:
                    continue
                created.add(one["request"]["url"])
            entries.append(one)
        return Asked("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries})

    def _entry(self, number: int) -> dict[str, Any]:
        match self.draw.randrange(7):
            case 0:
                return {"request": {"method": "GET", "url": self.reference()}}
            case 1:
                asked = self._search()
                url = asked.path if asked.method == "GET" else "Patient?_summary=count"
                return {"request": {"method": "GET", "url": url}}
            case 2:
                return {"request": {"method": "DELETE", "url": self.reference(self.draw.choice(WRITTEN))}}
            case 3:
                made = self._new("Observation")
                made["focus"] = [of(f"Condition?{self._criteria('Condition')}")]
                return {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{number}", "resource": made,
                        "request": {"method": "POST", "url": "Observation"}}  # fmt: skip
            case 4:
                made = self._new("Condition")
                request = {"method": "POST", "url": "Condition", "ifNoneExist": self._criteria("Condition")}
                return {"resource": made, "request": request}
            case 5:
                made = self._new("Task")
                made["for"] = of(f"Patient?identifier={IDS}|n-{self.draw.choice(PATIENTS)}")
                return {"resource": made, "request": {"method": "POST", "url": "Task"}}
            case _:
                made = self._new("Observation")
                target = self.reference("Observation")
                made["id"] = target.partition("/")[2]
                return {"resource": made, "request": {"method": "PUT", "url": target}}

    def _odd(self) -> Asked:
        return self.draw.choice(
            (Asked("GET", "metadata"), Asked("GET", "Observation?status=final&__explain=true"),
             Asked("GET", "Patient?_page=AAAA"), Asked("GET", f"{self.reference()}/$everything"),
             Asked("POST", "SearchParameter", {"resourceType": "SearchParameter"}))
        )  # fmt: skip


COMMON = (
    "_id=<>", "_lastUpdated=gt2020-01-01", "_lastUpdated=lt2020-01-01", "_security=|MASQUE_PS",
    "_security:not=|MASQUE_PS",
    "_lastUpdated=ge{updated:<!>}",
)  # fmt: skip
SEARCHES: Mapping[str, tuple[str, ...]] = {
    "Observation": (
        "patient=@", "subject=Patient/@", "patient=<Patient>", "status=final", "status:not=final", "code=718-7",
        "code=http://loinc.org|2345-7", "code:text=mesure", "code:in=http://example.org/vs", "date=gt2025-03-01",
        "date=lt2015", "date=ap2025-04-10", "value-quantity=gt15", "value-quantity=12||g/L", "performer=<Practitioner>",
        "encounter=<Encounter>", "identifier=http://example.org/obs|#", "category=laboratory", "focus=<>",
        "derived-from=<Observation>", "has-member:missing=false", "has-member=<Observation>",
        "code-value-quantity=718-7$gt12", "component-code=8480-6", "component-code-value-quantity=8480-6$gt4",
        "patient.name=dupont", "subject:Patient.gender=male", "patient.identifier=http://example.org/ids|n-@",
        "patient.general-practitioner.name=gp", "patient.birthdate=gt2000", "encounter.status=finished",
        "has-member.code=718-7", "derived-from:Observation.status=amended", "performer:Practitioner.name=gp",
        "_has:DiagnosticReport:result:status=final", "_has:Task:focus:status=requested",
        "_has:Provenance:target:recorded=gt2020", "_has:Observation:has-member:code=2345-7",
        "_has:Condition:evidence-detail:code=38341003", "_has:Observation:focus:status=final",
        "_filter=status eq final and code eq 718-7", "_filter=patient.name co \"dupont\"",
        "_filter=not (status eq final)",
        "_list=<List>", "_content=note", "_text=mesure", "patient:missing=true", "_id:missing=false",
        "_has:List:item:status=current", "has-member:missing=true", "derived-from:missing=false", "focus:missing=true",
        "_has:Provenance:target:target=<Observation>",
        "_has:AuditEvent:entity:action=R", "_has:AuditEvent:entity:entity=<Observation>",
    ),
    "Patient": (
        "name=dupont", "name:exact=Dupont", "name:contains=pon", "family=martin", "gender=female", "gender:not=male",
        "birthdate=lt2000", "identifier=http://example.org/ids|n-@", "identifier=n-@", "active=false",
        "general-practitioner=<Practitioner>", "organization.name=hôpital", "organization=<Organization>",
        "_has:Observation:patient:code=718-7", "_has:Observation:subject:value-quantity=gt90",
        "_has:Condition:patient:onset-date=lt2020", "_has:Encounter:patient:_has:Observation:encounter:status=amended",
        "_has:DocumentReference:patient:type=68599-0", "_has:Observation:patient:_security=|MASQUE_PS",
        "_has:RelatedPerson:patient:relationship=GUARD",
        "_has:List:patient:status=current", "_has:List:patient:item=<DocumentReference>",
        "_has:DocumentReference:patient:relatesto=<DocumentReference>", "_has:List:subject:item:missing=false",
        "_has:DiagnosticReport:patient:result=<Observation>", "_has:AuditEvent:patient:entity=<>",
        "_filter=name co \"dup\"", "_list=<List>",
        "_content=dupont", "phone:missing=true",
    ),
    "DocumentReference": (
        "patient=@", "type=68599-0", "type:not=68599-0", "type=11502-2", "date=gt2025-02-02", "status=current",
        "author=<Practitioner>", "security-label=|MASQUE_PS", "relatesto=<DocumentReference>", "description=document",
        "description:contains=autre", "patient.family=dupont", "relatesto:DocumentReference.type=68599-0",
        "_has:List:item:status=current", "_has:DocumentReference:relatesto:status=current",
        "relation:missing=false", "relation=appends",
        "relatesto:missing=true", "_list=<List>", "_content=document", "relationship=appends$<DocumentReference>",
        "patient:identifier=n-@", "_filter=type eq 68599-0",
    ),
    "Condition": (
        "patient=@", "code=38341003", "code:text=asthme", "code:text=hyper", "clinical-status=active",
        "onset-date=lt2021", "evidence-detail=<Observation>", "encounter=<Encounter>", "subject=<Patient>",
        "evidence-detail:Observation.code=718-7", "evidence-detail:missing=true", "patient.gender=female",
        "_has:MedicationStatement:reason:status=active",
        "_filter=code eq 38341003",
    ),
    "List": ("patient=@", "item=<DocumentReference>", "item=<>",
             "item:DocumentReference.type=68599-0", "status=current", "item:missing=true", "item=<!>",
             "_filter=item eq <DocumentReference>", "_content=nowhere"),
    "Provenance": ("target=<Observation>", "recorded=gt2020", "target:Observation.code=718-7", "agent=<Practitioner>",
                   "target=<!>", "target:missing=false", "entity=<Observation>"),
    "Communication": ("patient=@", "recipient=<Practitioner>", "recipient=<Patient>", "status=completed"),
    "Task": ("patient=@", "focus=<>", "focus:Observation.status=final", "status=requested",
             "focus:missing=false"),
    "DiagnosticReport": ("patient=@", "result=<Observation>", "result.code=718-7", "code=58410-2",
                         "result:missing=false"),
    "Encounter": ("patient=@", "status=finished", "_has:Observation:encounter:code=718-7", "date=2025-01-01"),
    "MedicationStatement": ("patient=@", "code=G03AA07", "effective=2025-03-01", "status=active"),
    "FamilyMemberHistory": ("patient=@", "relationship=FTH", "status=completed"),
    "Consent": ("patient=@", "status=active", "category=59284-0", "actor:identifier=899700000044"),
    "CareTeam": ("patient=@", "status=active", "participant:identifier=899700218896"),
    "RelatedPerson": ("patient=@", "relationship=GUARD"),
    "Practitioner": ("name=gp", "_has:Provenance:agent:recorded=gt2020",
                     "_has:Provenance:agent:target=<Observation>",
                     "_has:PractitionerRole:practitioner:organization=Organization/hospital",
                     "_has:Observation:performer:status=amended", "_has:Patient:general-practitioner:gender=male"),
    "Organization": ("name=hôpital", "partof.name=hôpital", "_has:Patient:organization:family=dupont",
                     "_has:Observation:performer:code=718-7"),
    "Schedule": ("actor=<Patient>", "_id=x"),
}  # fmt: skip
RESULTS = (
    "_total=accurate", "_total=accurate", "_total=estimate", "_total=none", "_summary=count", "_count=0", "_count=1",
    "_count=2", "_count=3", "_count=50", "_summary=true", "_elements=status,code", "_summary=count&_total=estimate",
    "_contained=false",
)  # fmt: skip
_SORTS = ("_sort=_lastUpdated", "_sort=-_lastUpdated", "_sort=_id", "_sort=-_id")
SORTS: Mapping[str, tuple[str, ...]] = {
    kind: _SORTS
    + {
        "Observation": ("_sort=date", "_sort=-date", "_sort=status,-date", "_sort=value-quantity", "_sort=-code"),
        "Patient": ("_sort=family", "_sort=-birthdate", "_sort=gender,family"),
        "Condition": ("_sort=onset-date", "_sort=-onset-date"),
        "DocumentReference": ("_sort=date", "_sort=-date", "_sort=type", "_sort=relation"),
    }.get(kind, ())
    for kind in SEARCHES
}
INCLUDES: Mapping[str, tuple[str, ...]] = {
    "Observation": (
        "_include=Observation:subject", "_include=*", "_include=Observation:has-member",
        "_include:iterate=Observation:derived-from", "_revinclude=DiagnosticReport:result", "_revinclude=*",
        "_revinclude=Provenance:target", "_revinclude=Observation:focus", "_revinclude:iterate=Observation:has-member",
        "_revinclude=AuditEvent:entity",
        "_include=Observation:encounter", "_include:iterate=Patient:organization", "_include=Observation:focus",
    ),
    "Patient": (
        "_revinclude=Observation:subject", "_revinclude=*", "_include=Patient:organization",
        "_revinclude=Condition:patient", "_revinclude:iterate=DocumentReference:patient", "_include:iterate=*",
    ),
    "DocumentReference": ("_include=DocumentReference:relatesto", "_revinclude=List:item", "_include:iterate=*",
                          "_revinclude=DocumentReference:relatesto"),
    "Condition": ("_include=Condition:evidence-detail", "_revinclude=MedicationStatement:reason", "_include=*"),
    "List": ("_include=List:item", "_include:iterate=List:item", "_include=*"),
    "Task": ("_include=Task:focus", "_include=*"),
    "Provenance": ("_include=Provenance:target", "_include=*"),
    "Organization": ("_revinclude=Patient:organization", "_revinclude=*", "_revinclude=Observation:performer"),
    "Practitioner": ("_revinclude=Observation:performer", "_revinclude=*"),
}  # fmt: skip
