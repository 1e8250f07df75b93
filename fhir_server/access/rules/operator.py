"""Operators keep the directory and the definitions; they see nothing of any record.

Auditors, a right of its own, read the trail: who did what when, which holds no clinical content.
"""

from fhir_server.access.facts import Facts
from fhir_server.access.resource_groups import PUBLIC
from fhir_server.access.rule import READING, Action, Rule
from fhir_server.search.ast import Everything, OfNoPatient, TypeIs
from fhir_server.search.building import build_and


def operator(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Operators write what is public among those who are known, and define search parameters."""
    if facts.caller.kind != "operator" or resource_type not in PUBLIC:
        return None
    if action == "define":
        return Rule("operator", Everything())
    return Rule("operator", build_and([TypeIs((resource_type,)), OfNoPatient()]))


def auditor(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Auditors read AuditEvents."""
    if facts.caller.kind != "operator" or "auditor" not in facts.caller.roles or action not in READING:
        return None
    return Rule("auditor", TypeIs(("AuditEvent",))) if resource_type == "AuditEvent" else None
