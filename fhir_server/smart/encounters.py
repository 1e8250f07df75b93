"""The encounter that an app is launched in: one of the patient's, as far as the person may see it.

Spec: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#requesting-context-with-scopes
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.datastructures import MultiDict

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import Scope
from fhir_server.errors import Text
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.dispatch import dispatch_audited
from fhir_server.interactions.request import FhirRequest
from fhir_server.smart.authority import Authority
from fhir_server.smart.decisions import Decision
from fhir_server.smart.edge import Edge
from fhir_server.smart.requests import SmartRequest
from fhir_server.smart.texts import NO_ENCOUNTER

SCOPE = "launch/encounter"
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Encounter:
    """One that may be chosen; ``label`` says when it was and of what kind."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to choose from, the latest first."""

    encounters: tuple[Encounter, ...]


@dataclass(frozen=True, slots=True)
class Encounters:
    """Finds encounters under the right of who is asked, and reads which one they have chosen."""

    edge: Edge

    def settle(
        self, request: SmartRequest, decision: Decision, form: MultiDict[str, str], language: str
    ) -> Decision | Text | Choice:
        """Return the decision with the encounter chosen, what is wrong with the choice, or what there is to choose.

        An encounter that came with the launch stays; with none to choose there is none.
        """
        if SCOPE not in decision.words or decision.patient is None or "encounter" in decision.context:
            return decision
        shown = self._find(request, decision, language)
        chosen = form.get("encounter")
        if not shown or chosen == "":
            return decision
        if chosen is None:
            return Choice(shown)
        if chosen not in {one.id for one in shown}:
            return NO_ENCOUNTER
        return replace(decision, context={**decision.context, "encounter": chosen})

    def is_seen(self, request: SmartRequest, decision: Decision, id: str) -> bool:
        """Say whether the encounter is one of the decision's patient that the person may see."""
        return bool(self._find(request, decision, "en", (("_id", id),)))

    def _find(
        self, request: SmartRequest, decision: Decision, language: str, more: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Encounter, ...]:
        """Return the latest encounters that the search shows, as every search is answered: by policy, and audited."""
        caller = to_reader(request, decision)
        ctx = self.edge.open_context(caller, language, request.base_url, request.address)
        parameters = (
            ("patient", f"Patient/{decision.patient}"),
            ("_sort", "-date"),
            ("_count", str(MOST_SHOWN)),
            *more,
        )
        answer = dispatch_audited(ctx, FhirRequest("GET", ("Encounter",), parameters, handling="strict"))
        assert isinstance(answer.body, bytes)
        found = [entry["resource"] for entry in parse_json(answer.body).get("entry", ())]
        return tuple(Encounter(one["id"], _label(one)) for one in found if one["resourceType"] == "Encounter")


def to_reader(request: SmartRequest, decision: Decision) -> Caller:
    """Return the person as one who reads encounters on this page, through the app that has sent them."""
    account = decision.session.account
    caller = Authority(request.client, decision.to_consent(request.client.id), account).to_caller()
    return replace(caller, scopes=(Scope("patient" if account.kind == "patient" else "user", "Encounter", "rs"),))


def _label(encounter: Mapping[str, Any]) -> str:
    """Return the days, the kind and the place of an encounter."""
    period = encounter.get("period", {})
    days = " – ".join(dict.fromkeys(period[name][:10] for name in ("start", "end") if name in period))
    concepts = (*encounter.get("type", ()), encounter.get("class", {}))
    kinds = [text for concept in concepts for text in _texts(concept)]
    place = encounter.get("serviceProvider", {}).get("display", "")
    return ", ".join(part for part in (days, kinds[0] if kinds else "", place) if part) or encounter["id"]


def _texts(concept: Mapping[str, Any]) -> list[str]:
    codings = (concept, *concept.get("coding", ()))
    said = [concept.get("text"), *(one.get("display") or one.get("code") for one in codings)]
    return [text for text in said if text]
