"""By which article of the code de la santé publique something is done: what ``Provenance.policy`` says.

Spec: http://hl7.org/fhir/R4/provenance-definitions.html#Provenance.policy
"""

from collections.abc import Iterable, Iterator, Mapping

from fhir_server.access.labels import MASKED, NOT_FOR_PATIENT, NOT_FOR_REPRESENTATIVES

_ARTICLE = "https://www.legifrance.gouv.fr/codes/article_lc/"

TRACED = "R1111-43"
"""Whatever is done to a record is traced."""
CARE_TEAM = "R1111-46"
"""The patient's permission is deemed given to the whole care team."""
EMERGENCY = "R1111-48"
"""Access in an emergency, of which the holder and the attending doctor are told."""
REPRESENTATION = "L1111-13-1"
"""The rights of a minor are exercised by the legal representatives."""
AUTHORISATIONS = "R1111-32"
"""The holder authorises, and changes any authorisation at any time."""

_LABELS: Mapping[str, str] = {
    **dict.fromkeys(MASKED, "R1111-49"),
    **dict.fromkeys(NOT_FOR_PATIENT, "R1111-53"),
    **dict.fromkeys(NOT_FOR_REPRESENTATIVES, "R1111-50"),
}
_CONSENTS: Mapping[str, str] = {
    "presomption-equipe-soins": CARE_TEAM,
    "consentement-hors-equipe": CARE_TEAM,
    "opposition-bris-de-glace": EMERGENCY,
    "opposition-centre-15": EMERGENCY,
    "masquage-total": "R1111-49",
    "masquage-document": "R1111-49",
    "medecine-du-travail": "L1111-17",
    "medecin-sapeur-pompier": "L1111-17",
    "appariement-app": "L1111-13-1",
    "ouverture-ens": "R1111-28",
    "opposition-ens": "R1111-28",
    "cloture-ens": "R1111-36",
    "opposition-remboursement-mineur": "R1111-33",
    "directive-anticipee": "R1111-19",
}
"""Kinds of Consent; any other is an authorisation like others."""


def to_policy(*articles: str) -> list[str]:
    """Return the articles as ``Provenance.policy`` names them, each once."""
    return [f"{_ARTICLE}{one}" for one in dict.fromkeys(articles)]


def articles_of_labels(labels: Iterable[str]) -> Iterator[str]:
    """Yield by which articles labels (``system|code``) are put on and taken off; most have none."""
    return (_LABELS[one] for one in sorted(labels) if one in _LABELS)


def articles_of_consent(kinds: Iterable[str]) -> Iterator[str]:
    """Yield by which article a Consent of these kinds (codes of its category) is given, refused and withdrawn."""
    known = [_CONSENTS[one] for one in kinds if one in _CONSENTS]
    yield from known or [AUTHORISATIONS]
