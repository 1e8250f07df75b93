"""Issues become OperationOutcomes in the reader's language."""

from fhir_server.errors import Issue, Text
from fhir_server.fhir.outcome import outcome_ok, to_outcome
from fhir_server.fhir.xml import parse_xml, to_xml

ISSUE = Issue("value", Text("Wrong", "Faux"), expression=("Patient.name[0]",), diagnostics="line 1, column 2")


def test_an_issue_is_told_in_full():
    assert to_outcome([ISSUE], "fr") == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "value",
                "details": {"text": "Faux"},
                "diagnostics": "line 1, column 2",
                "expression": ["Patient.name[0]"],
            }
        ],
    }


def test_english_is_the_language_of_everybody_else():
    assert to_outcome([ISSUE])["issue"][0]["details"]["text"] == "Wrong"
    assert to_outcome([ISSUE], "de")["issue"][0]["details"]["text"] == "Wrong"


def test_nothing_empty_is_written():
    assert to_outcome([Issue("value", Text("a", "b"), expression=("",))])["issue"] == [
        {"severity": "error", "code": "value", "details": {"text": "a"}}
    ]


def test_no_issue_means_that_all_is_well():
    assert to_outcome([], "fr") == outcome_ok(language="fr")
    (issue,) = outcome_ok(Text("Done", "Fait"), diagnostics="3")["issue"]
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("information", "informational", "3")


def test_an_outcome_is_valid_in_xml():
    assert parse_xml(to_xml(to_outcome([ISSUE, ISSUE]))) == to_outcome([ISSUE, ISSUE])
