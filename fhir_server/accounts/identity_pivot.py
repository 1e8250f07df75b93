"""Whose record is it? The identity pivot of FranceConnect, compared with the INS traits of our patients.

There is no number in the claims: the traits must be equal after normalisation, and be those of exactly one patient.
Spec: https://docs.partenaires.franceconnect.gouv.fr/fs/fs-technique/fs-technique-scope-fc/
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from fhir_server.accounts.reading import Resource, codings, search
from fhir_server.storage.store import Store

_FRANCE = "99100"
_LETTERS = str.maketrans({"Œ": "OE", "Æ": "AE", "’": "'", "‐": "-", "‑": "-"})
_BIRTH_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_PLACE = re.compile(r"\d[\dAB]\d{3}\Z")
_GENDERS = ("male", "female")
_BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_INSEE_CODE = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code"
_RELIABILITY = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
_DOUBTFUL = frozenset({"DOUT", "FICT", "USUR", "HOMD", "HOMA", "DOUB", "DPOT", "ANOM", "INVA", "DESA"})
_MOST_CANDIDATES = 500


class Traits(NamedTuple):
    """What is compared; ``place`` is the INSEE code of the commune, or of the country for who was born abroad."""

    family: str
    given: str
    birth_date: str
    gender: str
    place: str


def parse_pivot(claims: Mapping[str, Any]) -> Traits | None:
    """Return the traits of a complete identity pivot, None for claims that are none."""
    family, given, birth_date, gender, place, country = (
        claims.get(name) if isinstance(claims.get(name), str) else ""
        for name in ("family_name", "given_name", "birthdate", "gender", "birthplace", "birthcountry")
    )
    where = place if country in ("", _FRANCE) else country
    traits = Traits(normalise(family), _first(given), str(birth_date), str(gender), str(where).upper())
    complete = traits.family and traits.given and _BIRTH_DATE.match(traits.birth_date) and _PLACE.match(traits.place)
    return traits if complete and traits.gender in _GENDERS else None


def find_patient(store: Store, traits: Traits) -> Resource | None:
    """Return the one patient who has these traits; None when nobody has, or more than one."""
    parameters = [("birthdate", traits.birth_date), ("gender", traits.gender), ("family", _as_value(traits.family))]
    candidates = search(store, "Patient", parameters, limit=_MOST_CANDIDATES)
    same = [each for each in candidates if traits in traits_of(each)]
    return same[0] if len(same) == 1 and len(candidates) < _MOST_CANDIDATES else None


def traits_of(patient: Resource) -> set[Traits]:
    """Return the traits of a patient, one for each official name; none where the identity is in doubt."""
    dead = "deceasedDateTime" in patient or patient.get("deceasedBoolean") is True
    if dead or patient.get("active") is False or _statuses(patient) & _DOUBTFUL:
        return set()
    birth_date, gender, place = patient.get("birthDate", ""), patient.get("gender", ""), _birth_place(patient)
    official = [name for name in patient.get("name", []) if name.get("use") == "official"]
    return {
        Traits(normalise(name["family"]), _first(name["given"][0]), birth_date, gender, place)
        for name in official
        if "family" in name and name.get("given")
    }


def normalise(text: Any) -> str:
    """Return a name in capitals, without accents and superfluous blanks."""
    plain = unicodedata.normalize("NFD", str(text).upper().translate(_LETTERS))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(letters.split())


def _first(given: Any) -> str:
    return normalise(given).partition(" ")[0]


def _birth_place(patient: Resource) -> str:
    for extension in patient.get("extension", []):
        if extension.get("url") == _BIRTH_PLACE:
            for inner in extension.get("valueAddress", {}).get("extension", []):
                if inner.get("url") == _INSEE_CODE:
                    return str(inner.get("valueCoding", {}).get("code", "")).upper()
    return ""


def _statuses(patient: Resource) -> set[str]:
    reliability = [each for each in patient.get("extension", []) if each.get("url") == _RELIABILITY]
    inner = [part for each in reliability for part in each.get("extension", []) if part.get("url") == "identityStatus"]
    return {code for _, code in codings([{"coding": [part.get("valueCoding", {})]} for part in inner])}


def _as_value(text: str) -> str:
    """Return a text as the value of a search parameter, its separators escaped."""
    return re.sub(r"([\\,|$])", r"\\\1", text)
