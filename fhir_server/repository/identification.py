"""Which patient an operation is about, told by reference or by identity (INS), read from neither.

R1111-47: who feeds or must consult a record may refer to a patient by identity.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.errors import Invalid, MultipleMatches, NotFound, Required, Text
from fhir_server.repository.repository import Repository

_NO_PATIENT = Text("There is no such patient", "Ce patient n’existe pas")


def find_patient(repository: Repository, values: Mapping[str, Any]) -> str:
    """Return ``Patient/id`` of the parameter ``patient`` (a Reference) or ``identifier`` (``system|value``).

    Raises ``Required`` when neither is given, ``NotFound``, or ``MultipleMatches``.
    """
    reference, identifier = _text(values.get("patient"), "reference"), values.get("identifier")
    if isinstance(identifier, Mapping):
        identifier = f"{identifier.get('system', '')}|{identifier.get('value', '')}"
    if reference:
        criteria = [("_id", reference.removeprefix("Patient/"))]
    elif isinstance(identifier, str) and identifier.strip("|"):
        criteria = [("identifier", identifier)]
    else:
        raise Required(
            Text("patient or identifier is missing", "patient ou identifier manque"), expression="Parameters.patient"
        )
    matches = repository.match(repository.criteria("Patient", criteria), "refer")
    if not matches:
        raise NotFound(_NO_PATIENT)
    if len(matches) > 1:
        raise MultipleMatches(Text("The identity fits several patients", "L’identité correspond à plusieurs patients"))
    return matches[0].reference


def _text(value: Any, name: str) -> str:
    found = value.get(name, "") if isinstance(value, Mapping) else value or ""
    if not isinstance(found, str):
        raise Invalid(Text("patient is a reference", "patient est une référence"), expression="Parameters.patient")
    return found
