"""A service to which the operator has opened all records, as far as its scopes go: migration, statistics, the insurer.

It is opened by name at its registration, never by a request. The trail stays the trail.
"""

from fhir_server.access.facts import Facts
from fhir_server.access.resource_groups import TRAIL
from fhir_server.access.rule import READING, Action, Rule
from fhir_server.access.rules.structure import within_context
from fhir_server.search.ast import TypeIs
from fhir_server.search.building import build_and


def trusted_service(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """A trusted service does what its scopes say, but for changing the trail."""
    if facts.caller.kind != "system" or not facts.caller.trusted:
        return None
    if resource_type == "AuditEvent" or (resource_type in TRAIL and action not in (*READING, "create", "refer")):
        return None
    return Rule("trusted-service", build_and([TypeIs((resource_type,)), within_context(facts.caller)]))
