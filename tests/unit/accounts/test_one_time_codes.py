"""Time-based codes: RFC 6238's own numbers, and the window around now."""

from base64 import b32encode
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from fhir_server.accounts.one_time_codes import matching_step, normalise_code

SECRET = b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")],
)
def test_the_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert matching_step(SECRET, code, now) == seconds // 30


def test_the_code_before_and_the_one_after_are_accepted_and_no_others() -> None:
    now = datetime(2026, 5, 4, 12, 0, 10, tzinfo=UTC)
    step = int(now.timestamp()) // 30
    codes = {offset: pyotp.TOTP(SECRET).at(now + timedelta(seconds=30 * offset)) for offset in range(-3, 4)}
    found = {offset: matching_step(SECRET, code, now) for offset, code in codes.items()}
    assert found == {-3: None, -2: None, -1: step - 1, 0: step, 1: step + 1, 2: None, 3: None}


def test_blanks_and_dashes_in_a_code_do_not_matter() -> None:
    assert normalise_code(" 123 456 ") == "123456"
    assert normalise_code("abcd-efgh") == "ABCDEFGH"
    assert len(normalise_code("1" * 5_000)) == 64
