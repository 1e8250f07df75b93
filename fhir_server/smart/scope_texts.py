"""What each scope means, as a person reads it before agreeing.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from urllib.parse import quote

from fhir_server.access.scopes import ANY, Scope, parse_scope
from fhir_server.errors import Text

_PLAIN = {
    "openid": Text("Know that it is you who has signed in", "Savoir que c’est bien vous qui vous êtes connecté"),
    "fhirUser": Text("Know which person of the record you are", "Savoir quelle personne du dossier vous êtes"),
    "profile": Text("Know your name", "Connaître votre nom"),
    "offline_access": Text(
        "Keep its access while you are away, until you end it",
        "Garder son accès en votre absence, jusqu’à ce que vous y mettiez fin",
    ),
    "online_access": Text("Keep its access for the working day", "Garder son accès pendant la journée"),
    "ITI-65": Text("Add documents to the record", "Ajouter des documents au dossier"),
    "ITI-66": Text("Find the batches of documents", "Rechercher les lots de documents"),
    "ITI-67": Text("Find documents", "Rechercher des documents"),
    "ITI-68": Text("Open documents", "Ouvrir des documents"),
}
SILENT = frozenset({"launch", "launch/patient", "launch/encounter"})
"""Scopes that give nothing by themselves: the page shows the patient instead."""

_ACTIONS = {
    "c": Text("add", "ajouter"),
    "r": Text("read", "lire"),
    "u": Text("change", "modifier"),
    "d": Text("delete", "supprimer"),
    "s": Text("search", "rechercher"),
}
_WHOSE = {
    "patient": Text("in this record", "dans ce dossier"),
    "user": Text("in all that you may see yourself", "dans tout ce que vous pouvez consulter vous-même"),
    "system": Text("in all records", "dans tous les dossiers"),
}
_EVERYTHING = Text("everything", "tout le contenu")
_TYPES = {
    "AllergyIntolerance": Text("allergies", "allergies"),
    "Appointment": Text("appointments", "rendez-vous"),
    "AuditEvent": Text("traces of access", "traces d’accès"),
    "Binary": Text("files", "fichiers"),
    "CarePlan": Text("care plans", "plans de soins"),
    "CareTeam": Text("care teams", "équipes de soins"),
    "Communication": Text("messages", "messages"),
    "Condition": Text("health problems", "problèmes de santé"),
    "Consent": Text("consents", "consentements"),
    "Device": Text("devices", "dispositifs"),
    "DiagnosticReport": Text("diagnostic reports", "comptes rendus d’examens"),
    "DocumentReference": Text("documents", "documents"),
    "Encounter": Text("visits and stays", "consultations et séjours"),
    "Immunization": Text("vaccinations", "vaccinations"),
    "List": Text("lists", "listes"),
    "MedicationRequest": Text("prescriptions", "prescriptions"),
    "MedicationStatement": Text("treatments", "traitements"),
    "Observation": Text("measurements and results", "mesures et résultats"),
    "Organization": Text("organizations", "structures"),
    "Patient": Text("identity and contact details", "identité et coordonnées"),
    "Practitioner": Text("professionals", "professionnels"),
    "Procedure": Text("procedures", "actes"),
    "RelatedPerson": Text("relatives and representatives", "proches et représentants"),
}


def describe(word: str) -> Text:
    """Return what a granted word lets an app do."""
    scope = parse_scope(word)
    return _PLAIN[word] if scope is None else Text(_sentence(scope, "en"), _sentence(scope, "fr"))


def _sentence(scope: Scope, language: str) -> str:
    actions = [_ACTIONS[letter].in_language(language) for letter in scope.actions]
    joined = ", ".join(actions)
    text = f"{joined[0].upper()}{joined[1:]}: " if language == "en" else f"{joined[0].upper()}{joined[1:]} : "
    named = _EVERYTHING if scope.resource_type == ANY else _TYPES.get(scope.resource_type)
    text += scope.resource_type if named is None else named.in_language(language)
    if scope.parameters:
        only = "only" if language == "en" else "seulement"
        text += f" ({only} {', '.join(f'{name} = {_visible(value)}' for name, value in scope.parameters)})"
    return f"{text}, {_WHOSE[scope.context].in_language(language)}"


def _visible(value: str) -> str:
    """Return a value without what rewrites the sentence around it: invisible and direction characters, odd blanks."""
    return "".join(letter if letter.isprintable() else quote(letter) for letter in value)
