"""``AuditEvent/$tde``: a search of AuditEvents in the projection of the French guide for traces (ITI-81).

Spec: https://interop.esante.gouv.fr/ig/fhir/tde/, https://profiles.ihe.net/ITI/TF/Volume2/ITI-81.html
"""

from dataclasses import replace

from fhir_server.audit.tde import to_tde
from fhir_server.context import RequestContext
from fhir_server.errors import Required, Text
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import Parameter, read_texts
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route
from fhir_server.interactions.search import open_token, search

_DATE = Text("A search of traces needs the parameter date", "Une recherche de traces exige le paramètre date")
_DEFINITION = Definition(
    Text("National search of traces", "Recherche nationale de traces"),
    Text(
        "A search of AuditEvents in the projection of the French guide for traces (ITI-81): two agents at most. "
        "Modifiers, chains and result parameters are those of a search.",
        "Une recherche d’AuditEvent dans la projection du guide français des traces (ITI-81) : deux agents au plus. "
        "Modificateurs, chaînes et paramètres de résultat sont ceux d’une recherche.",
    ),
    takes=(
        Parameter(
            "date",
            "string",
            Text("When it was recorded; prefixes as in a search", "La date de la trace ; préfixes d’une recherche"),
            min=1,
            max="*",
            search_type="date",
        ),
        Parameter("_count", "integer", Text("Events of a page", "Le nombre de traces par page")),
        Parameter("_sort", "string", Text("The order, as in a search", "L’ordre, comme dans une recherche")),
    ),
    gives=(Parameter("return", "Bundle", Text("The searchset", "Le résultat de la recherche"), min=1),),
    searches="AuditEvent",
)


@operation("tde", _DEFINITION, levels={"type"}, types=frozenset({"AuditEvent"}))
def tde(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the searchset of ``AuditEvent?…`` with each event projected. Raises ``Required`` without a date."""
    asked = read_texts(request)
    if open_token(asked) is None and not any(name == "date" for name, _ in asked):
        raise Required(_DATE, expression="http.date")
    inner = replace(request, parameters=asked, resource=None)
    answer = search(ctx, inner, Route("search-type", route.template, "AuditEvent"))
    assert isinstance(answer.body, bytes)
    bundle = parse_json(answer.body)
    for link in bundle.get("link", []):
        link["url"] = link["url"].replace("/AuditEvent?", "/AuditEvent/$tde?")
    for entry in bundle.get("entry", []):
        if entry["resource"]["resourceType"] == "AuditEvent":
            entry["resource"] = to_tde(entry["resource"])
    return FhirResponse(200, bundle, route=route.template)
