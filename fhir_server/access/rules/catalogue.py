"""Every rule there is, in the order in which a decision names them."""

from fhir_server.access.rule import RuleFunction
from fhir_server.access.rules.content import content
from fhir_server.access.rules.directory import directory
from fhir_server.access.rules.operator import auditor, operator
from fhir_server.access.rules.own_record import own_contact_details, own_masking, own_record
from fhir_server.access.rules.professional import conversation, deposit, emergency, own_consent, professional
from fhir_server.access.rules.represented_record import (
    represented_contact_details,
    represented_masking,
    represented_record,
)
from fhir_server.access.rules.structure import identity, structure
from fhir_server.access.rules.trusted_service import trusted_service

RULES: tuple[RuleFunction, ...] = (
    own_record,
    own_masking,
    own_contact_details,
    represented_record,
    represented_masking,
    represented_contact_details,
    professional,
    emergency,
    deposit,
    conversation,
    own_consent,
    structure,
    identity,
    trusted_service,
    content,
    operator,
    auditor,
    directory,
)
