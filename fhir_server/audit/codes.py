"""The codes that AuditEvents are written in, and which caller and action has which.

Spec: https://profiles.ihe.net/ITI/BALP/content.html, http://hl7.org/fhir/R4/valueset-audit-event-type.html
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhir_server.access.caller import Caller

Coding = dict[str, str]

INTERACTION = "http://hl7.org/fhir/restful-interaction"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
BALP_ENTITY_TYPE = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACCESS_MODE = "https://mos.esante.gouv.fr/NOS/TRE_R248-ModeAcces/FHIR/TRE-R248-ModeAcces"
PROFESSION = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
SPECIALTY = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
CALLER_KIND = "https://espace-sante.example/fhir/CodeSystem/caller-kind"
RULE = "https://espace-sante.example/fhir/access-rule/"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"

REST: Coding = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
APPLICATION_SERVER: Coding = {"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}
SOURCE: Coding = {"system": DICOM, "code": "110153"}
DESTINATION: Coding = {"system": DICOM, "code": "110152"}
HIDDEN_FROM_REPRESENTATIVES = f"{VISIBILITY}|INVISIBLE_REPRESENTANTS_LEGAUX"

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."


class Kind(NamedTuple):
    """How an action is coded: the RESTful interaction, the event's action, BALP's pattern, who sends the data."""

    interaction: str
    action: str
    pattern: str
    client_sends: bool


KINDS: Mapping[str, Kind] = {
    "read": Kind("read", "R", "Read", False),
    "vread": Kind("vread", "R", "Read", False),
    "history": Kind("history", "R", "", False),
    "search": Kind("search", "E", "Query", True),
    "operation": Kind("operation", "E", "", True),
    "create": Kind("create", "C", "Create", True),
    "update": Kind("update", "U", "Update", True),
    "patch": Kind("patch", "U", "Update", True),
    "delete": Kind("delete", "D", "Delete", True),
}

_PURPOSES = {
    "patient": "PATRQT",
    "representative": "PATRQT",
    "professional": "TREAT",
    "system": "HOPERAT",
    "operator": "HSYSADMIN",
    "local": "HSYSADMIN",
}
_MODE_PURPOSES = {"bris_de_glace": "BTG", "centre_15": "ETREAT"}


def profile_of(kind: Kind, *, patient: bool) -> str | None:
    """Return the canonical of the BALP profile, None for what BALP has none for."""
    return f"{_BALP}{'Patient' if patient else ''}{kind.pattern}" if kind.pattern else None


def purposes_of(caller: Caller) -> list[Coding]:
    """Return why the caller asks: a v3-ActReason, and with an emergency its mode of access."""
    code = _MODE_PURPOSES.get(caller.mode) or _PURPOSES.get(caller.kind)
    found = [{"system": ACT_REASON, "code": code}] if code else []
    if caller.mode != "normal":
        found.append({"system": ACCESS_MODE, "code": caller.mode})
    return found


def roles_of(caller: Caller) -> list[dict[str, Any]]:
    """Return as what the caller asks: the kind of caller, and a professional's profession and specialty."""
    codings = [(CALLER_KIND, caller.kind), (PROFESSION, caller.profession), (SPECIALTY, caller.specialty)]
    return [{"coding": [{"system": system, "code": code}]} for system, code in codings if code]


def to_coding(label: str) -> Coding:
    """Return a label ``system|code`` as a Coding."""
    system, _, code = label.rpartition("|")
    return {"system": system, "code": code} if system else {"code": code}
