"""What the server publishes of itself as resources: the OperationDefinitions of its own operations.

Spec: http://hl7.org/fhir/R4/operationdefinition.html
"""

from fhir_server.app import Composition
from fhir_server.interactions.operation_definition import build_operation_definitions
from fhir_server.repository.change import Proposal


def publish_definitions(composition: Composition, language: str) -> None:
    """Write the definitions that are new or differ from what is stored; the others get no new version."""
    definitions = build_operation_definitions().items()
    proposals = [Proposal("update", "PUT", "OperationDefinition", id, resource=one) for id, one in definitions]
    composition.open_local_context("publish", language).repository.write(proposals)
