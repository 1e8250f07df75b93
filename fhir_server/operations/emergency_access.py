"""``$emergency-access``: a professional declares an emergency and may consult a record for a limited time.

L1111-17 I, R1111-48: bris de glace (the person cannot express their will and is in immediate danger) and centre 15
(a regulating doctor of the SAMU). A reason is mandatory; express opposition prevails; what is masked stays masked. The
holder and the attending doctor are told at once, by a Communication in the same record.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from fhir_server.access.caller import Caller, Mode
from fhir_server.access.consents import prevail
from fhir_server.access.facts import RecordFacts, personal_keys
from fhir_server.access.matrix import find_habilitation
from fhir_server.audit.legal_bases import EMERGENCY
from fhir_server.context import RequestContext
from fhir_server.errors import CodeInvalid, Forbidden, NotFound, Text
from fhir_server.fhir.datatypes import format_instant
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import WHICH_PATIENT, Parameter, build_parameters, parse_parameters, text_of
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.repository.change import Proposal
from fhir_server.repository.facts import EMERGENCIES
from fhir_server.repository.identification import find_patient
from fhir_server.search.ast import Everything, Nothing

_MODE = Text("bris_de_glace or centre_15", "bris_de_glace ou centre_15")
_DEFINITION = Definition(
    Text("Emergency access", "Accès en urgence"),
    Text(
        "A professional declares an emergency and may consult a record for a limited time (L1111-17, R1111-48). "
        "Express opposition prevails and what is masked stays masked; the holder and the attending doctor are told.",
        "Un professionnel déclare une urgence et peut consulter un dossier pour un temps limité (L1111-17, R1111-48). "
        "L’opposition expresse prévaut et ce qui est masqué le reste ; le titulaire et le médecin traitant en sont "
        "informés.",
    ),
    takes=(
        *WHICH_PATIENT,
        Parameter("mode", "code", _MODE, min=1),
        Parameter("reason", "string", Text("Why, for the audit", "La raison, pour l’audit"), min=1),
    ),
    gives=(
        Parameter("patient", "Reference", Text("Whose record it is", "Le patient concerné"), min=1),
        Parameter("mode", "code", _MODE, min=1),
        Parameter("until", "instant", Text("When the access ends", "La fin de l’accès"), min=1),
    ),
)
_EVENT_KINDS = "https://espace-sante.example/fhir/CodeSystem/record-event"
_PURPOSES = {"bris_de_glace": "BTG", "centre_15": "ETREAT"}
_LONGEST_REASON = 1_000


@operation("emergency-access", _DEFINITION, levels={"type"}, types=frozenset({"Patient"}), affects_state=True)
def emergency_access(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return until when the record may be consulted. Raises ``Forbidden``, ``NotFound``, ``Required``, ``Invalid``."""
    values = parse_parameters(request, _DEFINITION.takes)
    mode, reason = text_of(values, "mode"), text_of(values, "reason")
    if mode not in _PURPOSES:
        raise CodeInvalid(Text(f"mode is {_MODE.en}", f"mode vaut {_MODE.fr}"), expression="Parameters.mode")
    _check_habilitation(ctx.caller, mode)
    patient = find_patient(ctx.repository, values)
    ctx.trail.concern(patient)
    _check_opposition(_facts(ctx, patient), mode)
    ctx.trail.declare(cast(Mode, mode), reason[:_LONGEST_REASON])
    until = ctx.now + timedelta(seconds=ctx.settings.emergency_access_lifetime)
    ctx.repository.write_as_server(
        [_alert(ctx, patient, mode)],
        (EMERGENCIES, _record(ctx, patient, mode, reason[:_LONGEST_REASON], until)),
        article=EMERGENCY,
        reason="emergency-declared",
    )
    answer = build_parameters(
        patient_valueReference={"reference": patient}, mode_valueCode=mode, until_valueInstant=format_instant(until)
    )
    return FhirResponse(200, answer, route=route.template)


def _check_habilitation(caller: Caller, mode: str) -> None:
    row = find_habilitation(caller.profession)
    if caller.kind != "professional" or row is None:
        raise Forbidden(
            Text("Emergency access is for health professionals", "L’accès d’urgence est réservé aux professionnels")
        )
    if mode == "centre_15" and not caller.regulation:
        raise Forbidden(
            Text(
                "centre_15 is for doctors who regulate a SAMU’s calls", "centre_15 est réservé aux médecins régulateurs"
            )
        )
    if mode == "bris_de_glace" and not row.emergency:
        raise Forbidden(
            Text("Your profession has no emergency access", "Votre profession n’a pas d’accès en bris de glace")
        )


def _facts(ctx: RequestContext, patient: str) -> RecordFacts:
    records = ctx.repository.policy.about([patient]).facts().records
    if not records or not records[0].open:
        raise NotFound(Text("There is no such open record", "Ce dossier n’existe pas ou n’est pas ouvert"))
    return records[0]


def _check_opposition(record: RecordFacts, mode: str) -> None:
    if isinstance(prevail(Everything(), record.effects, _PURPOSES[mode]), Nothing):
        raise Forbidden(Text("The patient has objected to this access", "Le patient s’est opposé à cet accès"))


def _record(ctx: RequestContext, patient: str, mode: str, reason: str, until: Any) -> Mapping[str, Any]:
    keys = list(personal_keys(ctx.caller))
    return {
        "_id": ctx.request_id,
        "keys": keys,
        "patient": patient,
        "mode": mode,
        "reason": reason,
        "declared": ctx.now,
        "until": until,
    }


def _alert(ctx: RequestContext, patient: str, mode: str) -> Proposal:
    """Return the message that tells the holder and the attending doctor; nothing of what the record holds."""
    said = Text(
        f"A professional has declared an emergency ({mode}) and consulted this record.",
        f"Un professionnel a déclaré une urgence ({mode}) et consulté ce dossier.",
    )
    communication = {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": _EVENT_KINDS, "code": "emergency-access"}]}],
        "subject": {"reference": patient},
        "recipient": [{"reference": patient}, *ctx.repository.attending_doctors(patient)],
        "sent": format_instant(ctx.now),
        **({"sender": {"reference": ctx.caller.user}} if ctx.caller.user else {}),
        "payload": [{"contentString": said.fr}, {"contentString": said.en}],
    }
    return Proposal("create", "POST", "Communication", resource=communication)
