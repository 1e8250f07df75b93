"""Loads files: reads on, sends with several hands, goes back to what lacked something, and reports.

Files that others refer to go first and are waited for; whatever fails for want of something is sent again after
all else, as long as that brings anything in.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fhir_server.commands.loading.hands import Hands
from fhir_server.commands.loading.report import Failure, Outcome
from fhir_server.commands.loading.requests import Shipment
from fhir_server.commands.loading.sources import Piece, Unreadable, goes_later, read_pieces

Progress = Callable[[int, Outcome], None]
"""Told after each piece: bytes of files done with, and what became of the piece."""

_LARGEST_TOGETHER = 5_000


def load_files(files: Sequence[Path], hands: Hands, progress: Progress) -> Outcome:
    """Return what became of all files."""
    total = Outcome()

    def take(results: Iterator[tuple[int, Outcome]]) -> None:
        for weight, outcome in results:
            total.add(outcome)
            progress(weight, outcome)

    for later in (False, True):
        for path in (each for each in files if goes_later(each) is later):
            take(_load_file(path, hands))
        take(hands.finish())
    _send_again(total, hands, take)
    return total


def _load_file(path: Path, hands: Hands) -> Iterator[tuple[int, Outcome]]:
    """Load the pieces of a file; the bytes it has on disk count with its last piece."""
    before: Piece | None = None
    try:
        for piece in read_pieces(path):
            if before is not None:
                yield from hands.load(before, 0)
            before = piece
    except (Unreadable, OSError) as problem:
        yield 0, Outcome(failures=[Failure(getattr(problem, "origin", str(path)), str(problem))])
    if before is not None:
        yield from hands.load(before, path.stat().st_size)


def _send_again(total: Outcome, hands: Hands, take: Callable[[Iterator[tuple[int, Outcome]]], None]) -> None:
    """Send what lacked something until that brings in nothing more; then join the rest, then let it fail."""
    while total.again:
        waiting, total.again, before = total.again, [], total.resources
        for shipment in waiting:
            take(hands.send(shipment, False))
        take(hands.finish())
        if total.resources == before:
            break
    waiting, total.again = total.again, []
    batches = [each for each in waiting if each.bundle["type"] == "batch"]
    # Resources of different lines may refer to one another in a circle: only together can they go in.
    if 0 < sum(len(each.places) for each in batches) <= _LARGEST_TOGETHER:
        take(hands.send(_joined(batches), False))
        take(hands.finish())
        if not total.again:
            batches = []
        total.again = []
    for shipment in [each for each in waiting if each.bundle["type"] != "batch"] + batches:
        take(hands.send(shipment, True))
    take(hands.finish())


def _joined(batches: Sequence[Shipment]) -> Shipment:
    entries = [entry for each in batches for entry in each.bundle["entry"]]
    places = tuple(place for each in batches for place in each.places)
    return Shipment({"resourceType": "Bundle", "type": "transaction", "entry": entries}, places)
