"""Every error the server can answer with, one class per situation, each bound to its FHIR issue type and HTTP status.

    FhirError
    ├── Invalid 400 ── Structure, Value, Required, NotSupported, CodeInvalid, TooCostly
    ├── Login 401 · Forbidden 403 · NotFound 404 · MethodNotAllowed 405 · NotAcceptable 406
    ├── Conflict 409 ── Duplicate · Deleted 410 · PreconditionFailed 412 ── MultipleMatches
    ├── TooLong 413 · UnsupportedMediaType 415 · Processing 422 ── BusinessRule, Invariant
    ├── Throttled 429
    └── ServerError 500 ── NotImplementedHere 501 · Transient 503 · Timeout 504

Raise the child that names the situation, with every problem found, not only the first. A message says what and
where; it never quotes a value out of a record.
Spec: http://hl7.org/fhir/R4/operationoutcome.html, http://hl7.org/fhir/R4/valueset-issue-type.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple


class Text(NamedTuple):
    """One message in the two languages that people read here."""

    en: str
    fr: str

    def in_language(self, language: str) -> str:
        """Return the French text for ``fr``, the English one for anything else."""
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True, slots=True)
class Issue:
    """One ``OperationOutcome.issue``; ``expression`` holds FHIRPath locations such as ``Patient.name[0]``."""

    code: str
    text: Text
    severity: str = "error"
    expression: tuple[str, ...] = ()
    diagnostics: str | None = None


class FhirError(Exception):
    """An error with everything its OperationOutcome needs.

    ``message`` is one ``Text`` (with ``expression`` and ``diagnostics``) or an iterable of ``Issue``, all of which
    are reported. ``headers`` are added to the HTTP answer (``Allow``, ``WWW-Authenticate``, ``Retry-After``).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"
    route = ""
    """The template of the route on which it was raised, for logs and metrics."""

    def __init__(
        self,
        message: Text | Iterable[Issue],
        *,
        expression: str | None = None,
        diagnostics: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        where = () if expression is None else (expression,)
        if isinstance(message, Text):
            self.issues: tuple[Issue, ...] = (Issue(self.code, message, "error", where, diagnostics),)
        else:
            self.issues = tuple(message)
        self.headers = headers or {}
        super().__init__("; ".join(issue.text.en for issue in self.issues))

    def within(self, location: str) -> "FhirError":
        """Return the same error seen from an enclosing resource, its expressions put below ``location``."""
        return type(self)([_below(location, issue) for issue in self.issues], headers=self.headers)


def _below(location: str, issue: Issue) -> Issue:
    where = tuple(location + _tail(path) for path in issue.expression) or (location,)
    return replace(issue, expression=where)


def _tail(path: str) -> str:
    return path[path.index(".") :] if "." in path else ""


def join_errors(errors: Sequence[FhirError]) -> FhirError:
    """Return one error of the first one's kind that reports the issues of all."""
    if len(errors) == 1:
        return errors[0]
    return type(errors[0])([issue for error in errors for issue in error.issues], headers=errors[0].headers)


class Invalid(FhirError):
    """The request cannot be understood (400, ``invalid``)."""

    status = 400
    code = "invalid"


class Structure(Invalid):
    """The body is not well-formed, or not shaped as its resource type says (400, ``structure``)."""

    code = "structure"


class Value(Invalid):
    """A value breaks the format of its datatype (400, ``value``)."""

    code = "value"


class Required(Invalid):
    """Something that must be there is missing (400, ``required``)."""

    code = "required"


class NotSupported(Invalid):
    """The interaction, parameter or content is valid FHIR that this server does not do (400, ``not-supported``)."""

    code = "not-supported"


class CodeInvalid(Invalid):
    """A code is not in the required value set (400, ``code-invalid``)."""

    code = "code-invalid"


class TooCostly(Invalid):
    """The request would cost more than one caller may ask for (400, ``too-costly``)."""

    code = "too-costly"


class Login(FhirError):
    """The caller is not known (401, ``login``)."""

    status = 401
    code = "login"


class Forbidden(FhirError):
    """The caller may not do this to anything (403, ``forbidden``); hidden content is ``NotFound`` instead."""

    status = 403
    code = "forbidden"


class NotFound(FhirError):
    """Nothing there that this caller may see (404, ``not-found``)."""

    status = 404
    code = "not-found"


class MethodNotAllowed(FhirError):
    """The URL exists but not for this method (405, ``not-supported``); give ``Allow`` in ``headers``."""

    status = 405
    code = "not-supported"


class NotAcceptable(FhirError):
    """No offered format is acceptable to the caller (406, ``not-supported``)."""

    status = 406
    code = "not-supported"


class Conflict(FhirError):
    """The write collides with the present state (409, ``conflict``)."""

    status = 409
    code = "conflict"


class Duplicate(Conflict):
    """The same identity is written twice (409, ``duplicate``)."""

    code = "duplicate"


class Deleted(FhirError):
    """The resource was here and has been deleted (410, ``deleted``)."""

    status = 410
    code = "deleted"


class PreconditionFailed(FhirError):
    """``If-Match`` or ``If-None-Match`` does not hold (412, ``conflict``)."""

    status = 412
    code = "conflict"


class MultipleMatches(PreconditionFailed):
    """A conditional interaction matches more than one resource (412, ``multiple-matches``)."""

    code = "multiple-matches"


class TooLong(FhirError):
    """The body is larger than the server takes (413, ``too-long``)."""

    status = 413
    code = "too-long"


class UnsupportedMediaType(FhirError):
    """The body is in a format that the server does not read (415, ``not-supported``)."""

    status = 415
    code = "not-supported"


class Processing(FhirError):
    """The content is well-formed but cannot be processed (422, ``processing``)."""

    status = 422
    code = "processing"


class BusinessRule(Processing):
    """A rule of this server forbids it (422, ``business-rule``)."""

    code = "business-rule"


class Invariant(Processing):
    """A constraint of the resource's definition fails (422, ``invariant``)."""

    code = "invariant"


class Throttled(FhirError):
    """Too many requests (429, ``throttled``)."""

    status = 429
    code = "throttled"


class ServerError(FhirError):
    """The fault is the server's (500, ``exception``)."""


class NotImplementedHere(ServerError):
    """The server knows the request's meaning and does not offer it (501, ``not-supported``)."""

    status = 501
    code = "not-supported"


class Transient(ServerError):
    """The server cannot answer now; the same request may succeed later (503, ``transient``)."""

    status = 503
    code = "transient"


class Timeout(ServerError):
    """The work took longer than allowed (504, ``timeout``)."""

    status = 504
    code = "timeout"
