"""OperationOutcomes out of issues.

Spec: http://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Iterable
from typing import Any

from fhir_server.errors import Issue, Text

ALL_OK = Text("All OK", "Tout est en ordre")


def to_outcome(issues: Iterable[Issue], language: str = "en") -> dict[str, Any]:
    """Return the OperationOutcome of the issues, its texts in French for ``fr``, else in English.

    Without any issue it says that all is well, for an OperationOutcome must hold at least one.
    """
    listed = [_issue(issue, language) for issue in issues]
    return {"resourceType": "OperationOutcome", "issue": listed} if listed else outcome_ok(language=language)


def outcome_ok(text: Text = ALL_OK, language: str = "en", diagnostics: str | None = None) -> dict[str, Any]:
    """Return an OperationOutcome that informs of a success."""
    return to_outcome((Issue("informational", text, severity="information", diagnostics=diagnostics),), language)


def _issue(issue: Issue, language: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "details": {"text": issue.text.in_language(language)},
    }
    if issue.diagnostics:
        result["diagnostics"] = issue.diagnostics
    # An empty expression means the whole of the body; FHIR knows no empty strings.
    expression = [path for path in issue.expression if path]
    if expression:
        result["expression"] = expression
    return result
