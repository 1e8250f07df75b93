"""Who is asking: established once at the edge, never changed on the way down."""

from dataclasses import dataclass, field, fields
from typing import Literal

from fhir_server.access.scopes import Scope

CallerKind = Literal["open", "local", "anonymous", "patient", "representative", "professional", "system", "operator"]
"""``open``: a server without authentication. ``local``: the command line of the machine itself. ``anonymous``: whoever
reads the capability statement, with no right to anything else. ``representative``: a parent or guardian, bound to one
child. ``system``: a backend service on its own behalf."""

Mode = Literal["normal", "bris_de_glace", "centre_15"]
"""TRE_R248-ModeAcces: how a professional comes to a record."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The party behind a request; ``key`` is opaque and stable, and binds page links to who got them.

    References are ``Type/id``. ``identifiers`` are ``system|value``, as consents and care teams name a professional
    and ``organization_identifiers`` the structure that the caller works in (for ``system``: is).
    """

    key: str
    kind: CallerKind
    client_id: str = ""
    client_name: str = ""
    user: str | None = None
    """``fhirUser``: Patient, RelatedPerson, Practitioner, PractitionerRole or Person."""
    user_name: str = ""
    scopes: tuple[Scope, ...] = ()
    patient: str | None = None
    """The id of the patient in context (the launch context ``patient``), if there is one."""
    encounter: str | None = None
    identifiers: tuple[str, ...] = ()
    organization: str | None = None
    organization_identifiers: tuple[str, ...] = ()
    profession: str = ""
    """Code of TRE_G15-ProfessionSante (``10``: doctor)."""
    specialty: str = ""
    """Code of TRE_R38 (``SM54``)."""
    sector: str = ""
    """Code of TRE_R02-SecteurActivite (``SA07``)."""
    regulation: bool = False
    """A SAMU regulating doctor (``Acces_Regulation_Medicale``)."""
    mode: Mode = "normal"
    reason: str = ""
    """Why the emergency access is needed; mandatory with ``bris_de_glace``."""
    secret: bool = False
    """A « connexion secrète »: its traces are not for the minor's representatives."""
    trusted: bool = False
    """A service to which the operator has opened all records that its scopes name."""
    roles: tuple[str, ...] = ()
    """Further rights the operator has given: ``auditor``."""
    token: str = ""
    """The digest of the access token; never the token itself."""
    _hash: int = field(init=False, repr=False, compare=False)
    """Worked out once: what the policy and the audit keep for a caller is looked up many times in each request."""

    def __post_init__(self) -> None:
        values = (getattr(self, each.name) for each in fields(self) if each.compare)
        object.__setattr__(self, "_hash", hash(tuple(values)))

    def __hash__(self) -> int:
        return self._hash


OPEN_CALLER = Caller("open", "open")
"""Whoever can reach a server without authentication."""

LOCAL_CALLER = Caller("local", "local")
"""Whoever may run commands on the server's own machine."""

ANONYMOUS_CALLER = Caller("anonymous", "anonymous")
"""Whoever asks without a token for what is public."""
