"""Security labels: which ones hide a resource from whom, and who may put them on or take them off.

Labels are ``system|code``, as the field ``l`` holds them. Spec: http://hl7.org/fhir/R4/security-labels.html; the codes
are those of TRE_A07-StatutVisibiliteDocument and of its successor J421.
"""

from collections.abc import Iterable

from fhir_server.search.ast import HasLabel, Node
from fhir_server.search.building import build_not

VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
_MISSPELT = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument"
"""Written so in published examples; what is labelled with it must be hidden all the same."""
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = (
    "https://mos.esante.gouv.fr/NOS/TRE_A08-HL7Confidentiality/FHIR/TRE-A08-HL7Confidentiality",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
)


def _labels(code: str, *systems: str) -> tuple[str, ...]:
    return tuple(f"{system}|{code}" for system in (VISIBILITY, _MISSPELT, *systems))


MASKED = _labels("MASQUE_PS")
"""Hidden from professionals, but for who put it here and the attending doctor."""
NOT_FOR_PATIENT = (*_labels("INVISIBLE_PATIENT"), f"{_ACT_CODE}|NOPAT", f"{VISIBILITY}|NOPAT")
"""Not yet for the patient nor for representatives: first the patient is to be told."""
NOT_FOR_REPRESENTATIVES = _labels("INVISIBLE_REPRESENTANTS_LEGAUX")
"""Not for a minor's representatives."""

FOR_PATIENT: Node = build_not(HasLabel(NOT_FOR_PATIENT))
FOR_REPRESENTATIVE: Node = build_not(HasLabel((*NOT_FOR_PATIENT, *NOT_FOR_REPRESENTATIVES)))
UNMASKED: Node = build_not(HasLabel(MASKED))


def differing(before: Iterable[str], after: Iterable[str]) -> frozenset[str]:
    """Return the labels that were put on or taken off."""
    return frozenset(before) ^ frozenset(after)


def is_about_confidentiality(label: str) -> bool:
    """Say whether the label is a level of confidentiality (N, R, V, …), which hides nothing by itself."""
    return label.rpartition("|")[0] in CONFIDENTIALITY
