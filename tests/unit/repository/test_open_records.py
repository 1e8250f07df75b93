"""What a process believes of records that it has found open."""

from dataclasses import dataclass

from fhir_server.repository.open_records import BELIEVED, OpenRecords


@dataclass
class Clock:
    """A clock that the test turns."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_record_is_believed_open_for_half_a_second_from_when_it_was_asked_for() -> None:
    clock = Clock(10.0)
    records = OpenRecords(clock)
    assert not records.has("Patient/a")
    records.note("Patient/a", asked=9.9)
    assert records.has("Patient/a")
    assert not records.has("Patient/b")
    clock.now = 9.9 + BELIEVED
    assert not records.has("Patient/a")


def test_what_is_believed_of_very_many_does_not_grow_without_bound() -> None:
    records = OpenRecords(Clock())
    for number in range(100_000):
        records.note(f"Patient/{number}", asked=0.0)
    assert records.has("Patient/0")
    records.note("Patient/one-more", asked=0.0)
    assert records.has("Patient/one-more")
    assert not records.has("Patient/0"), "it is asked for again"


def test_who_closes_a_record_is_answered_when_nobody_believes_it_open_any_more() -> None:
    clock = Clock()
    elsewhere = OpenRecords(clock)

    def pause(seconds: float) -> None:
        clock.now += seconds

    elsewhere.note("Patient/a", asked=clock.now)
    OpenRecords(clock, pause).settle()
    assert not elsewhere.has("Patient/a")
