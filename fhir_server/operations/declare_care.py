"""``$declare-care``: a professional declares that they take part in a patient's care, which permits consultation.

R1111-46: permission is deemed given to the whole care team, if the patient was informed and has not objected. The
declaration is recorded as a Consent that the holder sees and can end, and the holder is told.
"""

from typing import Any

from fhir_server.access.consents import prevail
from fhir_server.access.identities import identity_key
from fhir_server.access.matrix import find_habilitation
from fhir_server.audit.legal_bases import CARE_TEAM, to_policy
from fhir_server.context import RequestContext
from fhir_server.errors import Forbidden, NotFound, Text
from fhir_server.fhir.datatypes import format_instant
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import WHICH_PATIENT, Parameter, build_parameters, parse_parameters
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal
from fhir_server.repository.identification import find_patient
from fhir_server.search.ast import Everything, Nothing

_DEFINITION = Definition(
    Text("Declare care", "Déclarer une prise en charge"),
    Text(
        "A professional declares that they take part in a patient’s care and may consult the record from then on "
        "(R1111-46). The holder is told, sees the declaration as a Consent and can end it.",
        "Un professionnel déclare participer à la prise en charge d’un patient et peut dès lors consulter le dossier "
        "(R1111-46). Le titulaire en est informé, voit la déclaration comme un Consent et peut y mettre fin.",
    ),
    takes=WHICH_PATIENT,
    gives=(
        Parameter(
            "patient",
            "Reference",
            Text("Whose record may be consulted", "Le patient dont le dossier peut être consulté"),
            min=1,
        ),
    ),
)
_KINDS = "https://espace-sante.example/fhir/CodeSystem/consent-kind"
_EVENT_KINDS = "https://espace-sante.example/fhir/CodeSystem/record-event"


@operation("declare-care", _DEFINITION, levels={"type"}, types=frozenset({"Patient"}), affects_state=True)
def declare_care(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the patient whose record may be consulted from now on. Raises ``Forbidden``, ``NotFound``."""
    values = parse_parameters(request, _DEFINITION.takes)
    if ctx.caller.kind != "professional" or find_habilitation(ctx.caller.profession) is None:
        raise Forbidden(
            Text("Only health professionals take part in care", "Seuls les professionnels participent aux soins")
        )
    patient = find_patient(ctx.repository, values)
    ctx.trail.concern(patient)
    records = ctx.repository.policy.about([patient]).facts().records
    if not records or not records[0].open:
        raise NotFound(Text("There is no such open record", "Ce dossier n’existe pas ou n’est pas ouvert"))
    record = records[0]
    if isinstance(prevail(Everything(), record.effects, "TREAT"), Nothing):
        raise Forbidden(Text("The patient has objected to this access", "Le patient s’est opposé à cet accès"))
    if not record.care_team and isinstance(prevail(Nothing(), record.effects, "TREAT"), Nothing):
        written = [_consent(ctx, patient), _notice(ctx, patient)]
        ctx.repository.write_as_server(written, article=CARE_TEAM, reason="care-declared")
    return FhirResponse(200, build_parameters(patient_valueReference={"reference": patient}), route=route.template)


def _actor(ctx: RequestContext) -> dict[str, Any]:
    """Return the reference that names the professional: by national number if there is one."""
    for identifier in ctx.caller.identifiers:
        system, _, value = identifier.rpartition("|")
        if system and identity_key(identifier):
            return {"type": "Practitioner", "identifier": {"system": system, "value": value}}
    return {"reference": ctx.caller.user}


def _consent(ctx: RequestContext, patient: str) -> Proposal:
    role = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [_concept("http://loinc.org", "59284-0"), _concept(_KINDS, "presomption-equipe-soins")],
        "patient": {"reference": patient},
        "dateTime": format_instant(ctx.now),
        "performer": [{"reference": patient}],
        "policy": [{"uri": uri} for uri in to_policy(CARE_TEAM)],
        "provision": {
            "type": "permit",
            "actor": [{"role": {"coding": [role]}, "reference": _actor(ctx)}],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
        },
    }
    return Proposal("create", "POST", "Consent", resource=consent)


def _notice(ctx: RequestContext, patient: str) -> Proposal:
    said = Text(
        "A professional has declared to take part in your care and may consult your record.",
        "Un professionnel a déclaré participer à votre prise en charge et peut consulter votre dossier.",
    )
    communication = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [_concept(_EVENT_KINDS, "first-access")],
        "subject": {"reference": patient},
        "recipient": [{"reference": patient}],
        "sent": format_instant(ctx.now),
        **({"sender": {"reference": ctx.caller.user}} if ctx.caller.user else {}),
        "payload": [{"contentString": said.fr}, {"contentString": said.en}],
    }
    return Proposal("create", "POST", "Communication", resource=communication)


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
