"""Which patient an operation is about, told by reference or by identity (INS), read from neither.

R1111-47: who feeds or must consult a record may refer to a patient by identity.
"""

from collections.abc import Mapping

from fhir_server.errors import Invalid, MultipleMatches, NotFound, Required, Text
from fhir_server.fhir.reference import LocalReference, parse_reference
from fhir_server.repository.repository import Repository
from fhir_server.search.values import escape

_NO_PATIENT = Text("There is no such patient", "Ce patient n’existe pas")


def find_patient(repository: Repository, values: Mapping[str, str]) -> str:
    """Return ``Patient/id`` of the parameter ``patient`` (a reference) or ``identifier`` (``system|value``).

    Raises ``Required`` when neither is given, ``Invalid`` for what is neither, ``NotFound``, or ``MultipleMatches``.
    """
    if reference := values.get("patient"):
        criteria = ("_id", _id(reference, repository.base_url))
    elif identity := _identity(values.get("identifier", "")):
        criteria = ("identifier", identity)
    else:
        raise Required(
            Text("patient or identifier is missing", "patient ou identifier manque"), expression="Parameters.patient"
        )
    matches = repository.match(repository.criteria("Patient", [criteria]), "refer")
    if not matches:
        raise NotFound(_NO_PATIENT)
    if len(matches) > 1:
        raise MultipleMatches(Text("The identity fits several patients", "L’identité correspond à plusieurs patients"))
    return matches[0].reference


def _id(reference: str, base_url: str) -> str:
    """Return the id in a reference to a Patient of this server; the id alone will do."""
    found = parse_reference(reference if "/" in reference else f"Patient/{reference}", base_url)
    if not isinstance(found, LocalReference) or found.type != "Patient":
        text = Text("patient is a reference to a Patient", "patient est une référence à un Patient")
        raise Invalid(text, expression="Parameters.patient")
    return found.id


def _identity(identifier: str) -> str:
    """Return the search value that means this one identity, empty when none is given: a system alone is none."""
    system, bar, value = identifier.partition("|") if "|" in identifier else ("", "", identifier)
    return f"{escape(system)}{bar}{escape(value)}" if value else ""
