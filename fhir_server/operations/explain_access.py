"""``$explain-access``: which rule lets somebody do something to a resource, or what is missing; for operators.

It computes the very policy that a request would meet, and shows names of rules and facts about rights, never a value
of the resource. Whether the resource exists is part of the answer: the operation is audited like a disclosure.
"""

from dataclasses import replace
from typing import Any, cast, get_args

from fhir_server.access.caller import Caller, CallerKind
from fhir_server.access.matrix import matrix_version
from fhir_server.access.policy import Policy
from fhir_server.access.rule import Action
from fhir_server.access.rules.catalogue import RULES
from fhir_server.access.scopes import parse_scopes
from fhir_server.context import RequestContext
from fhir_server.errors import CodeInvalid, Forbidden, Invalid, NotFound, Text
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import Parameter, parse_parameters, text_of
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.repository.authorising import Authority, to_index_document
from fhir_server.repository.facts import FactsReader
from fhir_server.search.matcher import matches
from fhir_server.storage.store import Document

_ACTIONS = ", ".join(get_args(Action))
_TAKES = (
    Parameter("user", "Reference", Text("Who would ask", "Qui demanderait"), min=1),
    Parameter("resource", "Reference", Text("What they would ask for", "Ce qui serait demandé"), min=1),
    Parameter("action", "code", Text(f"One of {_ACTIONS}", f"L’une de {_ACTIONS}"), min=1),
    Parameter("identifier", "Identifier", Text("A professional’s national number", "Le numéro d’un professionnel")),
    Parameter("organization", "Reference", Text("Where they practise", "Où il exerce")),
    Parameter("profession", "code", Text("Their profession (TRE_G15)", "Sa profession (TRE_G15)")),
    Parameter("patient", "Reference", Text("Whom a representative acts for", "Qui un représentant représente")),
    Parameter("scope", "string", Text("Scopes of the token; all if absent", "Scopes du jeton ; à défaut, tous")),
    Parameter("trusted", "boolean", Text("A service that is trusted", "Un service de confiance")),
)
_CONSIDERED = (
    Parameter("name", "code", Text("The rule’s name", "Le nom de la règle"), min=1),
    Parameter("outcome", "code", Text("What it says", "Ce qu’elle dit"), min=1),
)
_GIVES = (
    Parameter("allowed", "boolean", Text("Whether it is allowed", "Si l’accès est permis"), min=1),
    Parameter("rule", "code", Text("The rule that allows it", "La règle qui le permet")),
    Parameter("missing", "code", Text("What would have to be there", "Ce qui manque")),
    Parameter("matrix", "string", Text("The habilitation matrix in force", "La matrice en vigueur"), min=1),
    Parameter("scoped", "boolean", Text("Whether a scope names it", "Si un scope le nomme"), min=1),
    Parameter("record-open", "boolean", Text("Whether the record is open", "Si le dossier est ouvert")),
    Parameter("care-team", "boolean", Text("In the care team", "Dans l’équipe de soins")),
    Parameter("general-practitioner", "boolean", Text("The attending doctor", "Le médecin traitant")),
    Parameter("representative", "boolean", Text("A legal representative", "Un représentant légal")),
    Parameter("consents", "unsignedInt", Text("Consents that bear on it", "Les consentements en cause")),
    Parameter("emergency", "code", Text("The emergency declared", "L’urgence déclarée")),
    Parameter("considered", None, Text("Each rule asked", "Chaque règle consultée"), max="*", part=_CONSIDERED),
)
_DEFINITION = Definition(
    Text("Explain access", "Expliquer un accès"),
    Text(
        "Which rule lets somebody do something to a resource, or what is missing; for operators. It computes the "
        "policy that a request would meet and shows no value of the resource.",
        "Quelle règle permet à quelqu’un d’agir sur une ressource, ou ce qui manque ; pour les opérateurs. L’opération "
        "calcule la politique qu’une requête rencontrerait et ne montre aucune valeur de la ressource.",
    ),
    takes=_TAKES,
    gives=_GIVES,
)
_KINDS: dict[str, CallerKind] = {
    "Patient": "patient",
    "RelatedPerson": "representative",
    "Practitioner": "professional",
    "PractitionerRole": "professional",
    "Organization": "system",
}
_CONTEXTS = {"patient": "patient", "representative": "patient", "professional": "user", "system": "system"}


@operation("explain-access", _DEFINITION, levels={"system"})
def explain_access(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the decision with the rules that were asked. Raises ``Forbidden``, ``NotFound``, ``Invalid``."""
    if ctx.caller.kind not in ("operator", "open", "local"):
        raise Forbidden(Text("Only operators may ask this", "Seuls les opérateurs peuvent le demander"))
    values = parse_parameters(request, _TAKES)
    action = text_of(values, "action")
    if action not in get_args(Action):
        text = Text(f"action is one of {_ACTIONS}", f"action vaut l’un de {_ACTIONS}")
        raise CodeInvalid(text, expression="Parameters.action")
    document = _document(ctx, text_of(values, "resource"))
    caller = _caller(values)
    facts = FactsReader(ctx.repository.store, ctx.records, caller, ctx.now, ctx.repository.base_url)
    authority = Authority(Policy(caller, source=facts), ctx.repository.store)
    ctx.repository.disclose("read", [document], "operator")
    parts = _explain(authority, cast(Action, action), document)
    return FhirResponse(200, {"resourceType": "Parameters", "parameter": parts}, route=route.template)


def _document(ctx: RequestContext, reference: str) -> Document:
    found = ctx.repository.store.get_many([reference], index_fields=("*",)).get(reference)
    if found is None or found.deleted:
        raise NotFound(Text("There is no such resource", "Cette ressource n’existe pas"))
    return found


def _caller(values: dict[str, Any]) -> Caller:
    user = text_of(values, "user")
    kind = _KINDS.get(user.partition("/")[0])
    if kind is None:
        listed = ", ".join(f"{name}/id" for name in _KINDS)
        raise Invalid(Text(f"user is one of {listed}", f"user est de la forme {listed}"), expression="Parameters.user")
    patient = text_of(values, "patient").removeprefix("Patient/") or None
    scopes = parse_scopes(text_of(values, "scope") or f"{_CONTEXTS[kind]}/*.cruds").scopes
    caller = Caller(f"explained-{user}", kind, user=user, patient=patient, scopes=scopes)
    if kind == "patient":
        return replace(caller, patient=user.partition("/")[2])
    if kind == "system":
        return replace(caller, user=None, organization=user, trusted=text_of(values, "trusted") == "true")
    identifier, organization = text_of(values, "identifier"), text_of(values, "organization")
    return replace(
        caller,
        identifiers=(identifier,) if identifier else (),
        organization=organization or None,
        profession=text_of(values, "profession"),
    )


def _explain(authority: Authority, action: Action, document: Document) -> list[dict[str, Any]]:
    described = to_index_document(document)
    decision = authority.decide(action, document)
    policy = authority.about([described]).policy
    facts = policy.facts()
    record = next((one for one in facts.records if one.patient == described.get("pt")), None)
    parts: list[dict[str, Any]] = [
        {"name": "allowed", "valueBoolean": decision.allowed},
        *([{"name": "rule", "valueCode": decision.rule}] if decision.rule else []),
        *([{"name": "missing", "valueCode": decision.missing}] if decision.missing else []),
        {"name": "matrix", "valueString": matrix_version()},
        {"name": "scoped", "valueBoolean": policy.is_scoped(document.resource_type, action)},
    ]
    if record is not None:
        parts += [
            {"name": "record-open", "valueBoolean": record.open},
            {"name": "care-team", "valueBoolean": record.care_team},
            {"name": "general-practitioner", "valueBoolean": record.general_practitioner},
            {"name": "representative", "valueBoolean": record.represented},
            {"name": "consents", "valueUnsignedInt": len(record.effects)},
            *([{"name": "emergency", "valueCode": record.emergency}] if record.emergency else []),
        ]
    for function in RULES:
        rule = function(facts, document.resource_type, action)
        outcome = "not-applicable" if rule is None else "allows" if matches(rule.tree, described) else "does-not-allow"
        named = {"name": "name", "valueCode": function.__name__.replace("_", "-")}
        parts.append({"name": "considered", "part": [named, {"name": "outcome", "valueCode": outcome}]})
    return parts
