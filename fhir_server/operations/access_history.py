"""``$historique-acces`` (``$access-history``): who saw or changed what in a record, in plain sentences, page by page.

For the holder and, but for what must stay hidden from them, the legal representatives; professionals have no such view.
Parameters: ``tab`` (professionals, activities, services), ``date`` (as in a search, may repeat), ``_count``. The answer
is a Parameters with ``tab`` headings, one ``access`` for each event, newest first, and ``next`` when there are more.
"""

from collections.abc import Iterable
from typing import Any

from fhir_server.access.caller import Caller
from fhir_server.audit.access_history import CALLER_KINDS, TABS, Row, build_row, tab_name
from fhir_server.audit.codes import CALLER_KIND, HIDDEN_FROM_REPRESENTATIVES, VISIBILITY
from fhir_server.context import RequestContext
from fhir_server.errors import Invalid, NotFound, Required, Text
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import Parameter, parse_pairs, read_texts
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token, search
from fhir_server.repository.planning import absent

Pairs = tuple[tuple[str, str], ...]

_TAB_CODE = Text(f"One of {', '.join(TABS)}", f"L’un de {', '.join(TABS)}")
_DEFINITION = Definition(
    Text("History of accesses", "Historique des accès"),
    Text(
        "Who saw or changed what in a record, in plain sentences, newest first: for its holder and, but for what must "
        "stay hidden from them, the legal representatives. On the type, it is the caller’s own record.",
        "Qui a vu ou modifié quoi dans un dossier, en phrases simples, du plus récent au plus ancien : pour le "
        "titulaire et, hormis ce qui doit leur rester caché, ses représentants légaux. Sur le type, c’est le dossier "
        "de l’appelant.",
    ),
    takes=(
        Parameter("tab", "code", _TAB_CODE),
        Parameter(
            "date",
            "string",
            Text("When, as in a search", "La date, comme dans une recherche"),
            max="*",
            search_type="date",
        ),
        Parameter("_count", "integer", Text("Accesses of a page", "Le nombre d’accès par page")),
    ),
    gives=(
        Parameter(
            "tab",
            None,
            Text("A tab with its heading", "Un onglet et son titre"),
            max="*",
            part=(
                Parameter("code", "code", _TAB_CODE, min=1),
                Parameter("title", "string", Text("Its heading", "Son titre"), min=1),
            ),
        ),
        Parameter(
            "access",
            None,
            Text("One access", "Un accès"),
            max="*",
            part=(
                Parameter("tab", "code", Text("Where it belongs", "L’onglet dont il relève"), min=1),
                Parameter("date", "instant", Text("When", "Quand"), min=1),
                Parameter("text", "string", Text("The sentence", "La phrase"), min=1),
                Parameter("emergency", "boolean", Text("As an emergency", "En urgence"), min=1),
                Parameter("refused", "boolean", Text("It was refused", "Il a été refusé"), min=1),
                Parameter("event", "Reference", Text("The AuditEvent", "L’AuditEvent"), min=1),
                Parameter("author", "string", Text("Who", "Qui")),
            ),
        ),
        Parameter("next", "uri", Text("The next page, if any", "La page suivante, s’il y en a une")),
    ),
)
_NOT_YET_TOLD = (f"{VISIBILITY}|INVISIBLE_PATIENT", "http://terminology.hl7.org/CodeSystem/v3-ActCode|NOPAT")
_OPERATORS = ("open", "local", "operator")
_WHOSE = Text(
    "Whose record? Call it on the patient: Patient/[id]/$historique-acces",
    "Quel dossier ? Appelez l’opération sur le patient : Patient/[id]/$historique-acces",
)
_TAB = Text(f"tab is one of {', '.join(TABS)}", f"tab vaut l’un de {', '.join(TABS)}")


@operation("historique-acces", _DEFINITION, levels={"instance", "type"}, types=frozenset({"Patient"}))
def historique_acces(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the accesses to a record; on the type, to that of the caller. Raises ``NotFound`` to anybody else."""
    return _history(ctx, request, route, "historique-acces")


@operation("access-history", _DEFINITION, levels={"instance", "type"}, types=frozenset({"Patient"}))
def access_history(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the same under its English name."""
    return _history(ctx, request, route, "access-history")


def _history(ctx: RequestContext, request: FhirRequest, route: Route, code: str) -> FhirResponse:
    patient = route.id or ctx.caller.patient
    if patient is None:
        raise Required(_WHOSE)
    _check_holder(ctx.caller, patient)
    asked = read_texts(request)
    if open_token(asked) is None:
        asked = _search_of(patient, ctx.caller, parse_pairs(request, _DEFINITION.takes))
    inner = FhirRequest("GET", ("AuditEvent",), asked, handling="strict")
    answer = search(ctx, inner, Route("search-type", route.template, "AuditEvent"))
    assert isinstance(answer.body, bytes)
    bundle = parse_json(answer.body)
    rows = [build_row(entry["resource"]) for entry in bundle.get("entry", ()) if _is_event(entry)]
    body = {"resourceType": "Parameters", "parameter": _answer(ctx, rows, _next(ctx, bundle, patient, code))}
    return FhirResponse(200, body, route=route.template)


def _check_holder(caller: Caller, patient: str) -> None:
    own = caller.kind in ("patient", "representative") and caller.patient == patient
    if not own and caller.kind not in _OPERATORS:
        raise NotFound(absent("Patient"))


def _search_of(patient: str, caller: Caller, asked: Iterable[tuple[str, str]]) -> Pairs:
    found = [("patient", f"Patient/{patient}"), ("_sort", "-date")]
    for name, value in asked:
        if name != "tab":
            found.append((name, value))
            continue
        kinds = next((kinds for tab, kinds in CALLER_KINDS.items() if tab == value), None)
        if kinds is None:
            raise Invalid(_TAB, expression="http.tab")
        found.append(("agent-role", ",".join(f"{CALLER_KIND}|{kind}" for kind in kinds)))
    hidden = _NOT_YET_TOLD if caller.kind in ("patient", "representative") else ()
    if caller.kind == "representative":
        hidden = (*hidden, HIDDEN_FROM_REPRESENTATIVES)
    return (*found, *(("_security:not", label) for label in hidden))


def _is_event(entry: dict[str, Any]) -> bool:
    return bool(entry["resource"]["resourceType"] == "AuditEvent")


def _next(ctx: RequestContext, bundle: dict[str, Any], patient: str, code: str) -> str | None:
    link = next((one["url"] for one in bundle.get("link", ()) if one["relation"] == "next"), None)
    return None if link is None else f"{ctx.base_url}/Patient/{patient}/${code}?{link.partition('?')[2]}"


def _answer(ctx: RequestContext, rows: list[Row], following: str | None) -> list[dict[str, Any]]:
    for_child = ctx.caller.kind == "representative"
    headings: list[dict[str, Any]] = [
        {
            "name": "tab",
            "part": [
                {"name": "code", "valueCode": tab},
                {"name": "title", "valueString": ctx.say(tab_name(tab, for_child=for_child))},
            ],
        }
        for tab in TABS
    ]
    accesses: list[dict[str, Any]] = [{"name": "access", "part": _parts(ctx, row)} for row in rows]
    links: list[dict[str, Any]] = [{"name": "next", "valueUri": following}] if following else []
    return [*headings, *accesses, *links]


def _parts(ctx: RequestContext, row: Row) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"name": "tab", "valueCode": row.tab},
        {"name": "date", "valueInstant": row.date},
        {"name": "text", "valueString": ctx.say(row.text)},
        {"name": "emergency", "valueBoolean": row.emergency},
        {"name": "refused", "valueBoolean": row.refused},
        {"name": "event", "valueReference": {"reference": f"AuditEvent/{row.event}"}},
    ]
    return [*parts, {"name": "author", "valueString": row.author}] if row.author else parts
