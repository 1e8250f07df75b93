"""The patient whom a launch is about, as the professional may see them who is asked to let the app in.

Spec: https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

from dataclasses import dataclass, replace

from fhir_server.access.caller import Caller
from fhir_server.access.scopes import Scope
from fhir_server.accounts.reading import to_name
from fhir_server.fhir.json import parse_json
from fhir_server.interactions.dispatch import dispatch_audited
from fhir_server.interactions.request import FhirRequest
from fhir_server.smart.authority import Authority
from fhir_server.smart.decisions import Decision
from fhir_server.smart.edge import Edge
from fhir_server.smart.requests import SmartRequest


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom the data are about: a name to show, and the day of birth as FHIR writes it; each may be empty."""

    name: str
    birth_date: str

    def birth_date_in(self, language: str) -> str:
        """Return the day of birth as a language writes it, as far as it is known: in French ``13/06/1979``."""
        return "/".join(reversed(self.birth_date.split("-"))) if language == "fr" else self.birth_date


@dataclass(frozen=True, slots=True)
class Subjects:
    """Finds patients under the right of who is asked."""

    edge: Edge

    def find(self, request: SmartRequest, decision: Decision) -> Subject | None:
        """Return the decision's patient as a search is answered, by policy and audited; None where it shows none."""
        ctx = self.edge.open_context(_to_reader(request, decision), "en", request.base_url, request.address)
        parameters = (("_id", f"{decision.patient}"), ("_elements", "name,birthDate"))
        answer = dispatch_audited(ctx, FhirRequest("GET", ("Patient",), parameters, handling="strict"))
        assert isinstance(answer.body, bytes)
        found = [entry["resource"] for entry in parse_json(answer.body).get("entry", ())]
        return next((Subject(to_name(one, "official"), one.get("birthDate", "")) for one in found), None)


def _to_reader(request: SmartRequest, decision: Decision) -> Caller:
    caller = Authority(request.client, decision.to_consent(request.client.id), decision.session.account).to_caller()
    return replace(caller, scopes=(Scope("user", "Patient", "rs"),))
