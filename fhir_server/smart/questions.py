"""What a person is asked, and what their answer means.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#requesting-context-with-scopes
"""

from dataclasses import dataclass, replace
from typing import Any

from authlib.oauth2.rfc6749 import AccessDeniedError, InvalidRequestError, InvalidScopeError
from werkzeug.datastructures import MultiDict

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import Scope
from fhir_server.errors import Text
from fhir_server.smart.authority import Authority
from fhir_server.smart.clients import Client
from fhir_server.smart.consents import Consent
from fhir_server.smart.decisions import Decision
from fhir_server.smart.encounters import SCOPE as ENCOUNTER_SCOPE
from fhir_server.smart.encounters import Encounters
from fhir_server.smart.launches import Launch
from fhir_server.smart.pages import ConsentPage, days_of
from fhir_server.smart.parts import Parts
from fhir_server.smart.people import Person, Session
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.scope_texts import SILENT
from fhir_server.smart.subjects import Subject, Subjects
from fhir_server.smart.texts import NO_PATIENT, NOTHING_CHOSEN


@dataclass(frozen=True, slots=True)
class Question:
    """A good request, seen by one person: ``persons`` to choose from; ``patient`` when there is nothing to choose."""

    client: Client
    session: Session
    words: tuple[str, ...]
    persons: tuple[Person, ...]
    patient: str | None
    asks_patient: bool
    launch: Launch | None
    base_url: str


@dataclass(frozen=True, slots=True)
class Questions:
    """Builds questions and reads answers."""

    parts: Parts
    encounters: Encounters
    subjects: Subjects

    def build(self, request: SmartRequest, session: Session) -> Question:
        """Return the question of a checked request; raises ``OAuth2Error`` when this person cannot answer it."""
        account, words = session.account, tuple(request.scope.split(" "))
        redirect_uri = request.payload.redirect_uri
        launch = self._launch(request, session)
        patient = launch.context.get("patient") if launch is not None else None
        persons = account.persons if account.kind == "patient" else ()
        if account.kind == "patient" and patient is not None:
            persons = tuple(one for one in persons if one.patient == patient)
        if account.kind == "patient" and not persons:
            raise AccessDeniedError("The account may not open that record.", redirect_uri=redirect_uri)
        self._check_encounter(request, session, launch)
        needs_patient = patient is None and (_is_about_patient(words) and account.kind == "professional")
        if account.kind == "operator":
            words = tuple(word for word in words if not word.startswith("patient/"))
        if not any(word not in SILENT for word in words):
            raise InvalidScopeError(redirect_uri=redirect_uri)
        return Question(request.client, session, words, persons, patient, needs_patient, launch, request.base_url)

    def find_subject(self, request: SmartRequest, question: Question) -> Subject | None:
        """Return the patient whom a professional is asked about without a choice, as far as they may see them."""
        if question.patient is None or question.session.account.kind != "professional":
            return None
        about = Decision("", question.session, (), question.patient, self.parts.ground.now())
        return self.subjects.find(request, about)

    def to_page(
        self, question: Question, action: str, form_token: str, redirect_uri: str, problem: Text | None
    ) -> ConsentPage:
        """Return what to show, without the subject."""
        lifetimes = self.parts.tokens.lifetimes
        seconds = lifetimes.of_access(Authority(question.client, account=question.session.account))
        return ConsentPage(
            action=action,
            form_token=form_token,
            client=question.client,
            session=question.session,
            redirect_uri=redirect_uri,
            words=question.words,
            persons=question.persons,
            asks_patient=question.asks_patient,
            minutes=max(1, round(seconds / 60)),
            days=days_of(lifetimes.refresh),
            problem=problem,
        )

    def decide(self, question: Question, form: MultiDict[str, str]) -> Decision | Text:
        """Return what was allowed, or what is wrong with the answer.

        Only words that were asked for count, and only persons that were shown, whatever the form says.
        """
        chosen = set(form.getlist("scope"))
        words = tuple(word for word in question.words if word in SILENT or word in chosen)
        if not any(word not in SILENT for word in words):
            return NOTHING_CHOSEN
        decision = Decision(
            id=self.parts.ground.identifier(),
            session=question.session,
            words=words,
            patient=question.patient,
            now=self.parts.ground.now(),
            context=dict(question.launch.context) if question.launch is not None else {},
            launch=question.launch,
        )
        if question.persons:
            known = {person.patient for person in question.persons}
            if form.get("patient") not in known:
                return NO_PATIENT
            return _about(decision, form["patient"])
        return self._with_patient(question, decision, form) if question.asks_patient else decision

    def _with_patient(self, question: Question, decision: Decision, form: MultiDict[str, str]) -> Decision | Text:
        """Return the decision about the patient that a professional has named, as far as they may read them."""
        identifier = form.get("identifier", "").strip()
        if not identifier and not _is_about_patient(decision.words, clinical_only=True):
            return decision
        found = self.parts.find_patient(self._caller(decision, question.client), identifier, question.base_url)
        return NO_PATIENT if found is None else _about(decision, found)

    def _caller(self, decision: Decision, client: Client) -> Caller:
        consent: Consent = decision.to_consent(client.id)
        caller = Authority(client, consent, decision.session.account).to_caller()
        return replace(caller, scopes=(Scope("user", "Patient", "rs"),))

    def _check_encounter(self, request: SmartRequest, session: Session, launch: Launch | None) -> None:
        """Refuse a launch in an encounter that is not its patient's, or that this person may not see: alike."""
        if launch is None or "encounter" not in launch.context:
            return
        patient, now = launch.context.get("patient"), self.parts.ground.now()
        about = Decision("", session, (), patient, now)
        if patient is None or not self.encounters.is_seen(request, about, launch.context["encounter"]):
            raise AccessDeniedError(
                "The launch names no encounter of its patient that the account may open.",
                redirect_uri=request.payload.redirect_uri,
            )

    def _launch(self, request: SmartRequest, session: Session) -> Launch | None:
        secret = request.payload.data.get("launch")
        if secret is None:
            return None
        launch = self.parts.launches.find(secret, request.client.id)
        if launch is None or not launch.is_for(session.account):
            raise InvalidRequestError(
                "The launch is not known, or was made for another user.", redirect_uri=request.payload.redirect_uri
            )
        return launch


def _about(decision: Decision, patient: str) -> Decision:
    context: dict[str, Any] = {"need_patient_banner": True, **decision.context, "patient": patient}
    return replace(decision, patient=patient, context=context)


def _is_about_patient(words: tuple[str, ...], *, clinical_only: bool = False) -> bool:
    """Say whether the words mean nothing without a patient."""
    context = () if clinical_only else ("launch/patient", ENCOUNTER_SCOPE)
    return any(word.startswith("patient/") or word in context for word in words)
