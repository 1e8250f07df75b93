"""What a request is handed first."""

from datetime import UTC, datetime, timedelta

from fhir_server.context import current_time


def test_now_is_cut_to_the_milliseconds_that_are_kept() -> None:
    before, now, after = datetime.now(UTC), current_time(), datetime.now(UTC)
    assert before - timedelta(milliseconds=1) < now <= after
    assert now.tzinfo is UTC
    assert now.microsecond % 1_000 == 0
