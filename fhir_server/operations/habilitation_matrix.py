"""``$habilitation-matrix``: which profession may see what, as the server applies it; read-only, for everybody known.

Order of 26 October 2023; the version stands in every AuditEvent that it decided.
"""

from typing import Any

from fhir_server.access.matrix import Habilitation, habilitations, matrix_version
from fhir_server.context import RequestContext
from fhir_server.errors import Text
from fhir_server.interactions.operation import Definition, operation
from fhir_server.interactions.parameters import Parameter, parse_parameters
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route

_PARTS = (
    Parameter("code", "code", Text("The profession (TRE_G15)", "La profession (TRE_G15)"), min=1),
    Parameter("emergency", "boolean", Text("Has emergency access", "Dispose du bris de glace"), min=1),
    Parameter(
        "hidden-document-type", "code", Text("A type of document not seen", "Un type de document non vu"), max="*"
    ),
    Parameter(
        "hidden-resource-type", "code", Text("A type of resource not seen", "Un type de ressource non vu"), max="*"
    ),
)
_DEFINITION = Definition(
    Text("Habilitation matrix", "Matrice d’habilitation"),
    Text(
        "Which profession may see what, as the server applies it (order of 26 October 2023).",
        "Quelle profession peut voir quoi, telle que le serveur l’applique (arrêté du 26 octobre 2023).",
    ),
    gives=(
        Parameter("version", "string", Text("The version in force", "La version en vigueur"), min=1),
        Parameter(
            "profession", None, Text("What one profession sees", "Ce que voit une profession"), max="*", part=_PARTS
        ),
    ),
)


@operation("habilitation-matrix", _DEFINITION, levels={"system"})
def habilitation_matrix(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the version and, for each profession (TRE_G15), what it does not see and if it has emergency access."""
    parse_parameters(request, _DEFINITION.takes)
    parts: list[dict[str, Any]] = [{"name": "version", "valueString": matrix_version()}]
    parts += [{"name": "profession", "part": _parts(row)} for row in habilitations()]
    return FhirResponse(200, {"resourceType": "Parameters", "parameter": parts}, route=route.template)


def _parts(row: Habilitation) -> list[dict[str, Any]]:
    return [
        {"name": "code", "valueCode": row.profession},
        {"name": "emergency", "valueBoolean": row.emergency},
        *({"name": "hidden-document-type", "valueCode": code} for code in row.hidden_documents),
        *({"name": "hidden-resource-type", "valueCode": code} for code in sorted(row.hidden_resources)),
    ]
