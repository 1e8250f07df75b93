"""What a transaction on the database's own socket says and makes of the answers, as the driver would."""

from collections.abc import Sequence
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from fhir_server.storage.wire_transaction import TRANSIENT, UNKNOWN, WireTransactions

OK = {"ok": 1.0, "n": 1}
INSERT = {"insert": "c", "documents": [{"_id": 1}]}


class Answers:
    """In place of the socket: remembers what it is sent and gives prepared answers or raises."""

    def __init__(self, *answers: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._answers = list(answers)

    def exchange(self, commands: Sequence[dict[str, Any]], *, repeatable: bool) -> list[dict[str, Any]]:
        """Return the next answers; nothing of a transaction may be repeated unasked."""
        assert not repeatable
        self.sent += commands
        found = [self._answers.pop(0) if self._answers else OK for _ in commands]
        for one in found:
            if isinstance(one, Exception):
                raise one
        return found


def transactions(answers: Answers) -> WireTransactions:
    return WireTransactions(answers)  # type: ignore[arg-type]


def test_a_transaction_says_in_each_command_where_it_belongs() -> None:
    answers = Answers()
    source = transactions(answers)
    for _ in range(2):
        with source.begin() as transaction:
            transaction.run([INSERT, INSERT])
            transaction.run([INSERT])
            transaction.commit()
    first = answers.sent[:4]
    assert [one.get("startTransaction") for one in first] == [True, None, None, None]
    assert first[0]["readConcern"] == {"level": "local"}
    assert all(one["autocommit"] is False and one["txnNumber"] == 1 for one in first)
    assert first[3]["writeConcern"] == {"w": "majority", "j": True}
    assert first[3]["$db"] == "admin"
    assert {one["txnNumber"] for one in answers.sent[4:]} == {2}
    assert len({one["lsid"]["id"] for one in answers.sent}) == 1


def test_a_transaction_that_is_not_known_to_be_over_leaves_its_session_unused() -> None:
    answers = Answers(AutoReconnect("gone"), AutoReconnect("gone"))
    source = transactions(answers)
    with source.begin() as transaction:
        with pytest.raises(AutoReconnect):
            transaction.run([INSERT])
        transaction.abort()
    with source.begin() as transaction:
        transaction.run([INSERT])
    assert [next(iter(one)) for one in answers.sent] == ["insert", "abortTransaction", "insert"]
    assert len({one["lsid"]["id"] for one in answers.sent}) == 2


def test_what_was_never_begun_needs_no_abort() -> None:
    answers = Answers()
    with transactions(answers).begin() as transaction:
        transaction.abort()
    assert answers.sent == []


def test_a_lost_connection_lets_the_whole_be_tried_again() -> None:
    with transactions(Answers(AutoReconnect("gone"))).begin() as transaction:
        with pytest.raises(AutoReconnect) as lost:
            transaction.run([INSERT])
        assert lost.value.has_error_label(TRANSIENT)


def test_what_follows_a_failed_document_is_not_reported() -> None:
    failed = {"ok": 1.0, "n": 0, "writeErrors": [{"code": 11000}]}
    refused = {"ok": 0.0, "code": 251, "errmsg": "no such transaction"}
    with transactions(Answers(OK, failed, refused)).begin() as transaction:
        assert transaction.run([INSERT, INSERT, INSERT]) == [OK, failed]


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        (AutoReconnect("gone"), True),
        ({"ok": 0.0, "code": 91}, True),
        ({"ok": 0.0, "code": 50}, True),
        ({"ok": 0.0, "code": 7, "errorLabels": [TRANSIENT]}, True),
        ({"ok": 0.0, "code": 1, "errorLabels": ["RetryableWriteError"]}, True),
        ({"ok": 1.0, "writeConcernError": {"code": 64}}, True),
        ({"ok": 1.0, "writeConcernError": {"code": 91}}, True),
        ({"ok": 1.0, "writeConcernError": {"code": 100}}, False),
        ({"ok": 0.0, "code": 251, "errorLabels": [TRANSIENT]}, False),
        ({"ok": 0.0, "code": 13}, False),
    ],
)
def test_a_commit_says_when_it_may_have_happened(answer: Any, unknown: bool) -> None:
    answers = Answers(OK, answer)
    with transactions(answers).begin() as transaction:
        transaction.run([INSERT])
        with pytest.raises(PyMongoError) as failure:
            transaction.commit()
        assert failure.value.has_error_label(UNKNOWN) is unknown
        if unknown:
            assert not failure.value.has_error_label(TRANSIENT)
        transaction.commit()
    assert answers.sent[-1]["writeConcern"] == {"w": "majority", "j": True, "wtimeout": 10_000}
    assert answers.sent[-1]["txnNumber"] == answers.sent[-2]["txnNumber"]


def test_a_refused_command_carries_its_code_and_labels() -> None:
    refusal = {"ok": 0.0, "code": 112, "errmsg": "write conflict", "errorLabels": [TRANSIENT]}
    with transactions(Answers(refusal)).begin() as transaction:
        with pytest.raises(OperationFailure) as failure:
            transaction.run([INSERT])
        assert failure.value.code == 112
        assert failure.value.has_error_label(TRANSIENT)
