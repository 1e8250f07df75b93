"""The parts of the authorization server, put together once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fhir_server.access.caller import Caller
from fhir_server.audit.security_log import SecurityLog
from fhir_server.egress import Fetcher
from fhir_server.settings import Settings
from fhir_server.smart.clients import Clients
from fhir_server.smart.codes import Codes
from fhir_server.smart.consents import Consents
from fhir_server.smart.ground import Ground, RecordStore
from fhir_server.smart.key_sets import KeySets
from fhir_server.smart.keys import SigningKeys
from fhir_server.smart.launches import Launches
from fhir_server.smart.people import People
from fhir_server.smart.tokens import Lifetimes, Tokens

FindPatient = Callable[[Caller, str, str], str | None]
"""Returns the id of the one patient with an identifier to whom a caller may refer, in a request to a FHIR base."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints and grants work with."""

    settings: Settings
    ground: Ground
    people: People
    clients: Clients
    consents: Consents
    codes: Codes
    tokens: Tokens
    launches: Launches
    keys: SigningKeys
    key_sets: KeySets
    log: SecurityLog
    find_patient: FindPatient
    admit_registration: Callable[[str], int]
    """Counts a registration by who sends it; returns the seconds to wait, 0 if it may go on."""


def build_parts(
    settings: Settings,
    open_records: Callable[[], RecordStore],
    people: People,
    log: SecurityLog,
    find_patient: FindPatient,
    admit_registration: Callable[[str], int],
    clock: Callable[[], datetime],
    random_bytes: Callable[[int], bytes],
) -> Parts:
    """Return the parts for one process; nothing is connected or read yet."""
    ground = Ground(open_records, clock, random_bytes)
    clients, consents = Clients(ground), Consents(ground)
    lifetimes = Lifetimes(
        settings.access_token_lifetime, settings.professional_token_lifetime, settings.refresh_token_lifetime
    )
    path = settings.signing_keys_file
    return Parts(
        settings=settings,
        ground=ground,
        people=people,
        clients=clients,
        consents=consents,
        codes=Codes(ground, consents),
        tokens=Tokens(ground, clients, consents, people, lifetimes),
        launches=Launches(ground),
        keys=SigningKeys(path or settings.data_directory / "signing-keys.json", made_here=path is None),
        key_sets=KeySets(Fetcher(loopback=settings.fetch_loopback)),
        log=log,
        find_patient=find_patient,
        admit_registration=admit_registration,
    )
