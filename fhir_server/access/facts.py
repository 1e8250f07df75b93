"""What a policy is computed from: the caller, and what is known of the records that matter now.

Facts are values: gathered before, compared and cached as a whole, never looked up by a rule.
"""

from dataclasses import dataclass, replace

from fhir_server.access.caller import Caller
from fhir_server.access.consents import Effect
from fhir_server.access.identities import identity_key


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """One patient's record as it concerns the caller; ``patient`` is ``Patient/id``."""

    patient: str
    open: bool = True
    """The space exists and is not closed, opposed or suspended."""
    adult: bool = True
    represented: bool = False
    """The caller is a legal representative in force of a patient who is a minor or protected."""
    care_team: bool = False
    """The caller, or the structure that they work in, takes part in the patient's care."""
    general_practitioner: bool = False
    """The caller is the patient's attending doctor (médecin traitant)."""
    emergency: str = ""
    """The mode of an emergency access that the caller has declared and that still runs."""
    effects: tuple[Effect, ...] = ()
    """Of the active consents that concern the caller, the oldest first: what comes later prevails."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true as one request comes in."""

    caller: Caller
    records: tuple[RecordFacts, ...] = ()
    base_url: str = ""

    @property
    def own(self) -> RecordFacts | None:
        """The record of the patient in context."""
        wanted = f"Patient/{self.caller.patient}"
        return next((record for record in self.records if record.patient == wanted), None)

    @property
    def own_keys(self) -> tuple[str, ...]:
        """Under what the caller's deposits are theirs: see ``owner_keys``."""
        return owner_keys(self.caller)


def personal_keys(caller: Caller) -> tuple[str, ...]:
    """Return the references and identifiers of the caller alone: what one person has declared is no colleague's."""
    return caller_keys(replace(caller, organization=None, organization_identifiers=()))


def caller_keys(caller: Caller) -> tuple[str, ...]:
    """Return the references and identifiers (``system|value``) of the caller and of their structure."""
    references = (caller.user, caller.organization)
    return tuple(
        dict.fromkeys(
            [*filter(None, references), *map(identity_key, (*caller.identifiers, *caller.organization_identifiers))]
        )
    )


def owner_keys(caller: Caller) -> tuple[str, ...]:
    """Return the keys that a deposit of the caller's is marked with.

    A holder's and a representative's deposits are the record's own: whoever represents the child next may change them.
    """
    if caller.kind in ("patient", "representative"):
        return (f"Patient/{caller.patient}",) if caller.patient else ()
    return caller_keys(caller)
