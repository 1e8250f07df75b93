"""Patients read their own record, but for what they are first to be told; they add to it and change what they added.

R1111-27, R1111-53 (what is not yet visible to the patient), R1111-49 (the holder hides any data from professionals).
"""

from fhir_server.access.facts import Facts
from fhir_server.access.labels import FOR_PATIENT, MASKED
from fhir_server.access.resource_groups import OF_THE_HOLDER
from fhir_server.access.rule import CHANGING, READING, Action, Rule
from fhir_server.search.ast import Node, OwnedBy, PatientIs, ReferenceIs, TokenIn
from fhir_server.search.building import build_and, build_not
from fhir_server.search.param_types.token import code_key

MASKING = frozenset({"securityLabel"})
CONTACT_DETAILS = frozenset({"telecom", "address", "contact", "communication", "photo", "text"})
_BY_OPERATION = ("ouverture-ens", "opposition-ens", "cloture-ens", "appariement-app", "presomption-equipe-soins")
"""Kinds of Consent that are given by a process of their own, never by writing them down."""


def own_record(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Patients read their record and add to it."""
    return for_holder("own-record", facts, resource_type, action, FOR_PATIENT, kind="patient")


def own_masking(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Patients hide anything in their record from professionals, and show it again."""
    return masking("own-masking", facts, action, FOR_PATIENT, kind="patient")


def own_contact_details(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Patients correct how they are reached, not who they are."""
    return contact_details("own-contact-details", facts, resource_type, action, kind="patient")


def for_holder(name: str, facts: Facts, resource_type: str, action: Action, visible: Node, *, kind: str) -> Rule | None:
    """Return what exercising a holder's rights means for an action, on what is ``visible`` of the record."""
    if facts.caller.kind != kind or facts.own is None or not facts.own.open:
        return None
    record = build_and([PatientIs((facts.own.patient,)), visible])
    if action in READING or action == "refer":
        return Rule(name, record)
    if action == "create" and resource_type in OF_THE_HOLDER:
        return Rule(name, record)
    if resource_type in OF_THE_HOLDER:
        return Rule(name, build_and([record, OwnedBy((facts.own.patient,))]))
    return _rights(name, record, resource_type, action)


def _rights(name: str, record: Node, resource_type: str, action: Action) -> Rule | None:
    """Return what holders may write of their rights: consents, circle and contacts, but no guardians, no processes."""
    if action == "delete":
        return None
    match resource_type:
        case "Consent":
            kinds = tuple(code_key("Consent.category", kind) for kind in _BY_OPERATION)
            return Rule(name, build_and([record, build_not(TokenIn(kinds))]))
        case "CareTeam":
            return Rule(name, record)
        case "RelatedPerson":
            guardian = TokenIn((code_key("RelatedPerson.relationship", "GUARD"),))
            return Rule(name, build_and([record, build_not(guardian)]))
        case _:
            return None


def masking(name: str, facts: Facts, action: Action, visible: Node, *, kind: str) -> Rule | None:
    """Return the right to put on and take off MASQUE_PS, whoever put the resource here."""
    if facts.caller.kind != kind or facts.own is None or not facts.own.open or action not in CHANGING:
        return None
    return Rule(name, build_and([PatientIs((facts.own.patient,)), visible]), MASKING, frozenset(MASKED))


def contact_details(name: str, facts: Facts, resource_type: str, action: Action, *, kind: str) -> Rule | None:
    """Return the right to change the Patient's contact details."""
    if resource_type != "Patient" or facts.caller.kind != kind or facts.own is None or not facts.own.open:
        return None
    return Rule(name, ReferenceIs((facts.own.patient,)), CONTACT_DETAILS) if action in CHANGING else None
