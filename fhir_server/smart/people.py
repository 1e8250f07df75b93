"""What the authorization server asks of the people's side: who is logged in, and what is true of them now.

``accounts`` keeps these promises without importing this file, as it lies below: its values need only have the same
attributes. ``app`` brings the two together. The login page is ``/auth/login?next=<path>``; after the login it leads
back to the path, which begins with ``/auth/authorize/``. With ``&fresh=1`` it asks for the credentials again even when
there is a session (an app has asked so), and the session that follows has a new ``auth_time``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

AccountKind = Literal["patient", "professional", "operator"]


class Person(Protocol):
    """Somebody whose record an account may open: the holder, or a child whom the holder represents."""

    @property
    def patient(self) -> str:
        """The id of the Patient."""
        ...

    @property
    def name(self) -> str:
        """The name to show in the picker."""
        ...

    @property
    def related_person(self) -> str | None:
        """``RelatedPerson/id`` of the account's holder towards this patient; None: the patient is the holder."""
        ...


class Professional(Protocol):
    """What the login has established of a professional, in the one situation that they have chosen."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """``system|value``, as consents and care teams name them."""
        ...

    @property
    def practitioner_role(self) -> str | None:
        """``PractitionerRole/id`` of the situation."""
        ...

    @property
    def organization(self) -> str | None:
        """``Organization/id`` of the structure."""
        ...

    @property
    def organization_name(self) -> str:
        """The structure's name, empty when it is not known."""
        ...

    @property
    def organization_identifiers(self) -> tuple[str, ...]:
        """``system|value`` of the structure."""
        ...

    @property
    def profession(self) -> str:
        """Code of TRE_G15-ProfessionSante."""
        ...

    @property
    def specialty(self) -> str:
        """Code of TRE_R38."""
        ...

    @property
    def sector(self) -> str:
        """Code of TRE_R02-SecteurActivite."""
        ...

    @property
    def regulation(self) -> bool:
        """Whether they regulate a SAMU's calls."""
        ...


class Account(Protocol):
    """A person who can log in, with what is true of them at this moment."""

    @property
    def id(self) -> str:
        """Opaque and stable; the ``sub`` of id tokens is derived from it."""
        ...

    @property
    def kind(self) -> AccountKind:
        """Whose account it is."""
        ...

    @property
    def fhir_user(self) -> str | None:
        """``Type/id`` of the holder: a Patient, Practitioner, PractitionerRole or RelatedPerson; None: an operator."""
        ...

    @property
    def user_name(self) -> str:
        """The holder's name, to show."""
        ...

    @property
    def persons(self) -> tuple[Person, ...]:
        """Whose records it may open in its own right: the holder first; () for professionals and operators."""
        ...

    @property
    def professional(self) -> Professional | None:
        """The facts of a professional; None for everybody else."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """Further rights that an operator has been given (``auditor``)."""
        ...


class Session(Protocol):
    """A login that is still good."""

    @property
    def id(self) -> str:
        """Opaque, never the cookie itself; forms are bound to it."""
        ...

    @property
    def account(self) -> Account:
        """Who has logged in."""
        ...

    @property
    def auth_time(self) -> datetime:
        """When they last gave their credentials, in UTC."""
        ...

    @property
    def acr(self) -> str:
        """How sure it is that it is them (``eidas1``), empty when nothing is claimed."""
        ...

    @property
    def amr(self) -> tuple[str, ...]:
        """By which means (RFC 8176: ``pwd``, ``otp``, ``hwk``)."""
        ...


class People(Protocol):
    """The people's side."""

    def current_session(self, environ: Mapping[str, Any]) -> Session | None:
        """Return the session whose cookie a WSGI request brings, None when there is none that is still good."""
        ...

    def find_account(self, account: str, practitioner_role: str | None) -> Account | None:
        """Return what is true of an account now; a professional in the given situation.

        None when it does not exist, is locked or closed, or no longer has that situation: then nothing more is issued.
        Whoever locks or closes an account commits that first and then calls ``smart.endings.end_account`` (handed to
        ``accounts`` as a function by ``app``), which deletes its tokens.
        """
        ...
