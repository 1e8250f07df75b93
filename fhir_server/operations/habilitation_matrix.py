"""``$habilitation-matrix``: which profession may see what, as the server applies it; read-only, for everybody known.

Order of 26 October 2023; the version stands in every AuditEvent that it decided.
"""

from typing import Any

from fhir_server.access.matrix import Habilitation, habilitations, matrix_version
from fhir_server.context import RequestContext
from fhir_server.interactions.operation import operation
from fhir_server.interactions.parameters import parse_parameters
from fhir_server.interactions.request import FhirRequest, FhirResponse
from fhir_server.interactions.routes import Route

DEFINITION = "https://espace-sante.example/fhir/OperationDefinition/habilitation-matrix"


@operation("habilitation-matrix", DEFINITION, levels={"system"})
def habilitation_matrix(ctx: RequestContext, request: FhirRequest, route: Route) -> FhirResponse:
    """Return the version and, for each profession (TRE_G15), what it does not see and if it has emergency access."""
    parse_parameters(request, ())
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
