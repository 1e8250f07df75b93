"""What the processes of our own server take of the machine, from ``/proc``."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of CPU, user and system."""

    server: float
    database: float


@dataclass(frozen=True, slots=True)
class Processes:
    """The workers of a server, by the process that started them, and its database."""

    server: int
    database: int

    def used(self) -> Used:
        """Return what workers and database have used so far."""
        return Used(sum(map(_seconds, self._workers())), _seconds(self.database))

    def memory(self) -> list[int]:
        """Return the resident megabytes of the workers, the largest first."""
        return sorted((_status(each, "VmRSS") // 1024 for each in self._workers()), reverse=True)

    def _workers(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            number = int(path.parent.name)
            with suppress(OSError):
                if b"spawn_main" in path.read_bytes() and _status(number, "PPid") == self.server:
                    found.append(number)
        return found


def _seconds(process: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _status(process: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0
