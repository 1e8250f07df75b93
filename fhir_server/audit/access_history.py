"""The holder's own view of the audit: one plain sentence for each access, without any clinical content.

Who, whether they looked or changed, what kind of data, when, in an emergency or not; in three tabs as the application
of the real service has them: professionals, one's own activities (for a child: those of the representatives), services.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from fhir_server.audit.codes import CALLER_KIND, SUCCESS
from fhir_server.errors import Text
from fhir_server.fhir.datatypes import parse_instant

Tab = Literal["professionals", "activities", "services"]
TABS: tuple[Tab, ...] = get_args(Tab)

CALLER_KINDS: Mapping[Tab, tuple[str, ...]] = {
    "professionals": ("professional",),
    "activities": ("patient", "representative"),
    "services": ("system", "operator", "local", "open"),
}

_TAB_NAMES: Mapping[Tab, Text] = {
    "professionals": Text("Professionals", "Professionnels"),
    "activities": Text("My activities", "Mes activités"),
    "services": Text("Connected services", "Services synchronisés"),
}
_REPRESENTATIVES = Text("Legal representatives", "Représentants légaux")

_DONE = {
    "read": Text("looked at", "a consulté"),
    "vread": Text("looked at an earlier version of", "a consulté une version antérieure de"),
    "history": Text("looked at the history of", "a consulté l’historique de"),
    "search": Text("looked at", "a consulté"),
    "operation": Text("looked at", "a consulté"),
    "create": Text("added", "a ajouté"),
    "update": Text("changed", "a modifié"),
    "patch": Text("changed", "a modifié"),
    "delete": Text("deleted", "a supprimé"),
}
_TRIED = {
    "create": Text("tried to add", "a tenté d’ajouter"),
    "update": Text("tried to change", "a tenté de modifier"),
    "patch": Text("tried to change", "a tenté de modifier"),
    "delete": Text("tried to delete", "a tenté de supprimer"),
}
_TRIED_TO_LOOK = Text("tried to look at", "a tenté de consulter")

_DATA = {
    "AllergyIntolerance": Text("allergies", "des allergies"),
    "Appointment": Text("appointments", "des rendez-vous"),
    "AuditEvent": Text("the history of accesses", "l’historique des accès"),
    "Binary": Text("the content of documents", "le contenu de documents"),
    "CarePlan": Text("care plans", "des plans de soins"),
    "CareTeam": Text("the care team", "l’équipe de soins"),
    "Communication": Text("messages", "des messages"),
    "Condition": Text("health problems", "des problèmes de santé"),
    "Consent": Text("the rules of access", "les règles d’accès"),
    "Coverage": Text("insurance data", "des données d’assurance"),
    "DiagnosticReport": Text("reports of examinations", "des comptes rendus d’examens"),
    "DocumentReference": Text("documents", "des documents"),
    "Encounter": Text("visits and stays", "des venues et séjours"),
    "ExplanationOfBenefit": Text("reimbursements", "des remboursements"),
    "FamilyMemberHistory": Text("family history", "des antécédents familiaux"),
    "Immunization": Text("vaccinations", "des vaccinations"),
    "List": Text("folders", "des classeurs"),
    "MedicationRequest": Text("prescriptions", "des prescriptions"),
    "MedicationStatement": Text("treatments", "des traitements"),
    "Observation": Text("measurements and results", "des mesures et résultats"),
    "Patient": Text("the identity data", "les données d’identité"),
    "Procedure": Text("treatments and interventions", "des soins et interventions"),
    "Provenance": Text("the origin of data", "l’origine de données"),
    "QuestionnaireResponse": Text("questionnaires", "des questionnaires"),
    "RelatedPerson": Text("the persons of trust and representatives", "les proches et représentants"),
}
_OTHER = Text("other data of the record", "d’autres données du dossier")
_NOTHING_FOUND = Text("the record, where nothing was found", "le dossier, sans y trouver de données")
_RECORD = Text("the record", "le dossier")
_SOMEBODY = Text("Somebody unknown", "Une personne inconnue")
_EMERGENCY = Text(", as an emergency", ", en urgence")
_REFUSED = Text(", which was refused", ", ce qui lui a été refusé")
_ENGLISH_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One access as its holder reads it; ``event`` is the AuditEvent's id."""

    event: str
    date: str
    tab: Tab
    author: str
    text: Text
    emergency: bool
    refused: bool


def build_row(event: Mapping[str, Any]) -> Row:
    """Return what an AuditEvent says to the holder of the record."""
    author = _author(event)
    emergency = any(coding.get("code") in ("BTG", "ETREAT") for coding in _purposes(event))
    refused = event.get("outcome", SUCCESS) != SUCCESS
    action = _action(event)
    done = _DONE.get(action, _DONE["read"]) if not refused else _TRIED.get(action, _TRIED_TO_LOOK)
    data, when = _data(event, action), _when(parse_instant(event["recorded"]))
    tail = Text(
        (_EMERGENCY.en if emergency else "") + (_REFUSED.en if refused else ""),
        (_EMERGENCY.fr if emergency else "") + (_REFUSED.fr if refused else ""),
    )
    who = author or _SOMEBODY
    text = Text(
        f"{who if isinstance(who, str) else who.en} {done.en} {data.en} on {when.en}{tail.en}.",
        f"{who if isinstance(who, str) else who.fr} {_joined(done.fr, data.fr)} le {when.fr}{tail.fr}.",
    )
    return Row(event["id"], event["recorded"], _tab(event), author, text, emergency, refused)


def tab_name(tab: Tab, *, for_child: bool) -> Text:
    """Return the heading of a tab; a child's activities are those of the representatives."""
    return _REPRESENTATIVES if tab == "activities" and for_child else _TAB_NAMES[tab]


def _joined(done: str, data: str) -> str:
    """Contract ``de des`` and ``de le`` as French does."""
    if not done.endswith(" de"):
        return f"{done} {data}"
    for article, contracted in (("des ", "de "), ("d’", "d’"), ("les ", "des "), ("le ", "du ")):
        if data.startswith(article):
            return f"{done[:-3]} {contracted}{data.removeprefix(article)}"
    return f"{done} {data}"


def _requestor(event: Mapping[str, Any]) -> Mapping[str, Any]:
    agents = event.get("agent", [])
    return next((agent for agent in agents if agent.get("requestor")), agents[0] if agents else {})


def _author(event: Mapping[str, Any]) -> str:
    agent = _requestor(event)
    who = agent.get("who", {})
    name = agent.get("name") or who.get("display") or who.get("identifier", {}).get("value") or who.get("reference", "")
    return str(name)


def _tab(event: Mapping[str, Any]) -> Tab:
    codings = [coding for role in _requestor(event).get("role", ()) for coding in role.get("coding", ())]
    kinds = {coding.get("code") for coding in codings if coding.get("system") == CALLER_KIND}
    return next((tab for tab, known in CALLER_KINDS.items() if kinds.intersection(known)), "services")


def _action(event: Mapping[str, Any]) -> str:
    return next((coding.get("code", "") for coding in event.get("subtype", ())), "read")


def _purposes(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for purpose in event.get("purposeOfEvent", ()):
        yield from purpose.get("coding", ())


def _data(event: Mapping[str, Any], action: str) -> Text:
    """Return the kinds of data, at most three by name."""
    entities = event.get("entity", [])
    kinds = list(dict.fromkeys(_types(entities)))
    if not kinds:
        asked = any("query" in entity for entity in entities)
        return _NOTHING_FOUND if asked and action == "search" else _RECORD
    named = list(dict.fromkeys(_DATA.get(kind, _OTHER) for kind in kinds))
    shown = named if len(named) <= 3 else [*named[:2], _OTHER]
    return Text(_listed([one.en for one in shown], "and"), _listed([one.fr for one in shown], "et"))


def _types(entities: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the types of what was shown; the patient whose record it is counts only if shown itself."""
    for entity in entities:
        if entity.get("role", {}).get("code") != "1":
            reference = entity.get("what", {}).get("reference", "")
            if "/" in reference:
                yield reference.partition("/")[0]


def _listed(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _when(moment: datetime) -> Text:
    local = to_paris(moment)
    return Text(
        f"{local.day} {_ENGLISH_MONTHS[local.month - 1]} {local.year} at {local:%H:%M}",
        f"{'1er' if local.day == 1 else local.day} {_MONTHS[local.month - 1]} {local.year} à {local:%H h %M}",
    )


def to_paris(moment: datetime) -> datetime:
    """Return the wall clock of Paris: summer time from the last Sunday of March to that of October, at 1 h UTC.

    Directive 2000/84/CE; a bare machine has no table of time zones.
    """
    moment = moment.astimezone(UTC)
    begins, ends = (_last_sunday(moment.year, month) for month in (3, 10))
    return moment + timedelta(hours=2 if begins <= moment < ends else 1)


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, 31, 1, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)
