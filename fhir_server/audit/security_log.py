"""Where accounts and the authorization server tell what has happened: in the audit before anybody is answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_server.audit import codes
from fhir_server.audit.events import Event
from fhir_server.audit.repeats import Repeats
from fhir_server.audit.security_events import Actor, SecurityEvent, to_document


@dataclass(frozen=True, slots=True)
class SecurityLog:
    """Appends events to the audit; ``append`` returns once they are kept. Not ``enabled``: nothing is told."""

    append: Callable[[Sequence[Event]], None]
    repeats: Repeats
    base_url: str
    clock: Callable[[], datetime]
    enabled: bool = True

    def tell(self, event: SecurityEvent) -> None:
        """Write what has happened. Raises ``StoreUnavailable``: then nobody may be told that it has."""
        if self.enabled:
            self.append([to_document(event, self.clock(), self.base_url)])

    def tell_refused(self, event: SecurityEvent, subject: str) -> None:
        """Write what was refused, repeats of one ``subject`` together. Raises ``StoreUnavailable``."""
        if not self.enabled:
            return
        outcome = codes.MINOR_FAILURE if event.outcome == codes.SUCCESS else event.outcome
        number = self.repeats.count(event.code, subject)
        if number == 0:
            self.tell(SecurityEvent(event.code, Actor("unknown"), outcome=outcome, problem="many"))
        elif number is not None:
            details = (*event.details, ("count", str(number)))
            self.tell(replace(event, outcome=outcome, details=details))
