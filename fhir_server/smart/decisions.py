"""What a person has decided on the page of consent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.smart.consents import Consent
from fhir_server.smart.launches import Launch
from fhir_server.smart.people import Session


@dataclass(frozen=True, slots=True)
class Decision:
    """A yes: ``id`` of the consent to be, who said it, to which words of the scope, for which patient."""

    id: str
    session: Session
    words: tuple[str, ...]
    patient: str | None
    now: datetime
    context: Mapping[str, Any] = field(default_factory=dict)
    launch: Launch | None = None

    def to_consent(self, client: str) -> Consent:
        """Return the consent to keep."""
        account = self.session.account
        professional = account.professional
        return Consent(
            id=self.id,
            client=client,
            account=account.id,
            scope=" ".join(self.words),
            created=self.now,
            auth_time=self.session.auth_time,
            acr=self.session.acr,
            amr=self.session.amr,
            role=professional.practitioner_role if professional is not None else None,
            patient=self.patient,
            context=self.context,
        )
