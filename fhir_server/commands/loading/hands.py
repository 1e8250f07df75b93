"""Who does the sending: threads with a connection each, or processes on the store of this machine."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from fhir_server.app import Composition
from fhir_server.commands.loading.report import Failure, Outcome, describe, understand
from fhir_server.commands.loading.requests import Shipment, from_document, from_lines
from fhir_server.commands.loading.sources import Piece
from fhir_server.commands.loading.targets import DirectTarget, HttpTarget, Target
from fhir_server.errors import FhirError
from fhir_server.settings import Settings

_WINDOW = 3


@dataclass(frozen=True, slots=True)
class Manner:
    """How to load: ``as_is`` sends bundles as they are written, ``language`` is that of the report."""

    as_is: bool
    language: str


@dataclass(slots=True)
class Worker:
    """Sends for the loader, in whatever thread or process it is called."""

    target: Target
    manner: Manner

    def load(self, piece: Piece) -> Outcome:
        """Return what became of a piece of a file."""
        outcome = Outcome()
        try:
            if piece.kind == "lines":
                shipment, problems = from_lines(piece.content, piece.origin, piece.first)
                outcome.failures += [Failure(place, describe(error, self.manner.language)) for place, error in problems]
            else:
                shipment = from_document(piece.content, piece.origin, as_is=self.manner.as_is)
        except FhirError as error:
            outcome.failures.append(Failure(piece.origin, describe(error, self.manner.language)))
            return outcome
        outcome.add(self.send(shipment, last=False))
        return outcome

    def send(self, shipment: Shipment, *, last: bool) -> Outcome:
        """Return what became of a shipment."""
        if not shipment.bundle["entry"]:
            return Outcome()
        try:
            return understand(shipment, self.target.send(shipment.bundle), last=last)
        except OSError as error:
            return Outcome(failures=[Failure(shipment.origin, f"no answer ({error})")])


class Hands:
    """What does the sending: an executor and the functions it is given."""

    def __init__(
        self,
        executor: Executor,
        count: int,
        load: Callable[[Piece], Outcome],
        send: Callable[[Shipment, bool], Outcome],
    ) -> None:
        self._executor = executor
        self._window = count * _WINDOW
        self._load = load
        self._send = send
        self._running: dict[Future[Outcome], int] = {}

    def load(self, piece: Piece, weight: int) -> Iterator[tuple[int, Outcome]]:
        """Begin to load a piece; yield what is done meanwhile, waiting while too much is under way."""
        self._running[self._executor.submit(self._load, piece)] = weight
        yield from self._collect(self._window)

    def send(self, shipment: Shipment, last: bool) -> Iterator[tuple[int, Outcome]]:
        """Begin to send a shipment once more; yield what is done meanwhile."""
        self._running[self._executor.submit(self._send, shipment, last)] = 0
        yield from self._collect(self._window)

    def finish(self) -> Iterator[tuple[int, Outcome]]:
        """Wait for all that is under way and yield it."""
        yield from self._collect(0)

    def _collect(self, allowed: int) -> Iterator[tuple[int, Outcome]]:
        while len(self._running) > allowed:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                yield self._running.pop(future), future.result()


@contextmanager
def http_hands(url: str, token: str | None, connections: int, manner: Manner) -> Iterator[Hands]:
    """Give hands that post to a server's base URL; raises ``ValueError`` for what is no address."""
    worker = Worker(HttpTarget(url, token), manner)
    with ThreadPoolExecutor(connections) as executor:
        yield Hands(executor, connections, worker.load, lambda shipment, last: worker.send(shipment, last=last))


@contextmanager
def direct_hands(settings: Settings, processes: int, manner: Manner) -> Iterator[Hands]:
    """Give hands that write straight into the store that ``settings`` name, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (settings, manner)) as executor:
        yield Hands(executor, processes, _load, _send)


# One process, one worker: what a pool's process is told at its start.
_workers: list[Worker] = []


def _begin(settings: Settings, manner: Manner) -> None:
    _workers[:] = [Worker(DirectTarget(Composition(settings), manner.language), manner)]


def _load(piece: Piece) -> Outcome:
    return _workers[0].load(piece)


def _send(shipment: Shipment, last: bool) -> Outcome:
    return _workers[0].send(shipment, last=last)
