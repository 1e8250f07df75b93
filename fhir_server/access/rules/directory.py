"""What is public knowledge among those who are known: who works where, and what resources are made of."""

from fhir_server.access.facts import Facts
from fhir_server.access.resource_groups import PUBLIC
from fhir_server.access.rule import READING, Action, Rule
from fhir_server.search.ast import OfNoPatient, TypeIs
from fhir_server.search.building import build_and


def directory(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Everybody who is known reads the directory and the definitions; nothing of a patient is ever in there."""
    if resource_type not in PUBLIC or facts.caller.kind == "anonymous":
        return None
    if action in READING or action == "refer":
        return Rule("directory", build_and([TypeIs((resource_type,)), OfNoPatient()]))
    return None
