"""Parents and guardians exercise the rights of a child, but see nothing that the child keeps from them.

L1111-2, L1111-5, R1111-33, R1111-50; only while the relation is in force and the child a minor or protected.
"""

from fhir_server.access.facts import Facts
from fhir_server.access.labels import FOR_REPRESENTATIVE
from fhir_server.access.rule import Action, Rule
from fhir_server.access.rules.own_record import contact_details, for_holder, masking


def represented_record(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Representatives in force do for the child what the child may do, on what they may see."""
    if not _represents(facts):
        return None
    return for_holder("represented-record", facts, resource_type, action, FOR_REPRESENTATIVE, kind="representative")


def represented_masking(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Representatives hide from professionals what they may see themselves."""
    if not _represents(facts):
        return None
    return masking("represented-masking", facts, action, FOR_REPRESENTATIVE, kind="representative")


def represented_contact_details(facts: Facts, resource_type: str, action: Action) -> Rule | None:
    """Representatives correct how the child is reached."""
    if not _represents(facts):
        return None
    return contact_details("represented-contact-details", facts, resource_type, action, kind="representative")


def _represents(facts: Facts) -> bool:
    return facts.own is not None and facts.own.represented
