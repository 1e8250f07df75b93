"""Plans of concurrent callers share a transaction; each stays atomic, and its caller waits for the commit.

The first thread that finds a free lead becomes the leader: it commits its own plan together with what is waiting, then
hands the lead to the next waiting thread. Alone, a plan is committed at once. Plans that
touch the same thing never meet in one group. If a shared group fails, each of its plans is committed alone by its own
thread, so that only the loser is told so.
"""

import threading
import time
from collections.abc import Callable, Sequence

from fhir_server.storage.store import StoreUnavailable
from fhir_server.storage.transaction import Work

_MOST_PLANS = 64
_MOST_CHANGES = 400
_MOST_BYTES = 8 * 1024 * 1024
_LARGE = 50
"""A plan of so many changes gains nothing from company and would keep the others waiting: it is committed by itself.

So is one that marks a whole record."""
_COMPANY = 3
_JUST_NOW, _MOMENT = 0.003, 0.0003
"""Within 3 ms after a commit shared by three or more, its callers are likely to come back with their next plans: who
leads then gives them 0.3 ms. Measured: a third more commits a second, and each takes a third less time."""

_LEAD, _ALONE, _DONE = range(3)


class _Ticket:
    """A caller's place in the queue; ``signal`` is released when ``order`` says what to do."""

    __slots__ = ("error", "keys", "order", "signal", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.keys = work.keys
        self.order = _LEAD
        self.error: Exception | None = None
        self.signal = threading.Lock()
        self.signal.acquire()

    def tell(self, order: int, error: Exception | None = None) -> None:
        """Wake the caller."""
        self.order, self.error = order, error
        self.signal.release()


class GroupCommit:
    """Hands works to ``write`` in groups; at most ``leaders`` shared transactions are under way at a time."""

    def __init__(self, write: Callable[[Sequence[Work]], None], leaders: int = 1) -> None:
        self._write = write
        self._free_leads = leaders
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._company_until = 0.0

    def submit(self, work: Work) -> None:
        """Return when the work is committed; raises what ``write`` raises for it."""
        if len(work.encoded) >= _LARGE or work.plan.markings:
            self._write((work,))
            return
        ticket = _Ticket(work)
        with self._lock:
            leads = self._free_leads > 0
            if leads:
                self._free_leads -= 1
            else:
                self._waiting.append(ticket)
        if not leads:
            ticket.signal.acquire()
        elif time.monotonic() < self._company_until:
            time.sleep(_MOMENT)
        if ticket.order == _LEAD:
            self._lead(ticket)
        if ticket.order == _ALONE:
            self._write((work,))
        elif ticket.error is not None:
            raise ticket.error

    def _lead(self, own: _Ticket) -> None:
        """Commit the own work with its group and tell the others; ``own.order`` then says how it went."""
        group = self._take(own)
        order = _ALONE
        error: Exception | None = None
        try:
            self._write([ticket.work for ticket in group])
            order = _DONE
        except StoreUnavailable as unavailable:
            order, error = _DONE, unavailable
        except Exception as failure:
            if len(group) == 1:
                order, error = _DONE, failure
        except BaseException:
            # This thread was told to end; whether it had committed is not known here.
            order, error = _DONE, StoreUnavailable("The commit was interrupted.")
            raise
        finally:
            self._company_until = time.monotonic() + _JUST_NOW if len(group) >= _COMPANY else 0.0
            self._pass_on()
            own.order, own.error = order, error
            for ticket in group[1:]:
                ticket.tell(order, error)

    def _take(self, own: _Ticket) -> list[_Ticket]:
        """Return the own ticket and, in order, those waiting that fit beside it."""
        group = [own]
        with self._lock:
            if not self._waiting:
                return group
            keys, changes, size = set(own.keys), len(own.work.encoded), own.work.size
            left = []
            for ticket in self._waiting:
                more, bigger = changes + len(ticket.work.encoded), size + ticket.work.size
                fits = len(group) < _MOST_PLANS and more <= _MOST_CHANGES and bigger <= _MOST_BYTES
                if fits and keys.isdisjoint(ticket.keys):
                    group.append(ticket)
                    changes, size = more, bigger
                else:
                    left.append(ticket)
                keys |= ticket.keys  # also of those left: plans on one thing keep their order
            self._waiting = left
        return group

    def _pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.pop(0).tell(_LEAD)
            else:
                self._free_leads += 1
