"""The interactions that write: each makes a proposal, and the repository decides."""

from collections.abc import Callable, Mapping

from fhir_server.context import RequestContext
from fhir_server.interactions.create import propose_create
from fhir_server.interactions.delete import propose_delete
from fhir_server.interactions.patch import propose_patch
from fhir_server.interactions.request import FhirRequest
from fhir_server.interactions.routes import Route
from fhir_server.interactions.update import propose_update
from fhir_server.repository.change import Proposal

PROPOSERS: Mapping[str, Callable[[RequestContext, FhirRequest, Route], Proposal]] = {
    "create": propose_create,
    "update": propose_update,
    "patch": propose_patch,
    "delete": propose_delete,
}
