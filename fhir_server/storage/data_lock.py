"""One server for one data directory: a lock that the system releases however the server dies."""

import fcntl
import os
from pathlib import Path

from fhir_server.errors import Text


class EmbeddedDatabaseError(Exception):
    """The embedded database cannot be had; ``text`` tells the operator what to do, in both languages."""

    def __init__(self, text: Text) -> None:
        self.text = text
        super().__init__(text.en)


class DataDirectoryInUse(EmbeddedDatabaseError):
    """Another server holds the data directory; ``holder`` is its process id, ``None`` if it left none."""

    def __init__(self, directory: Path, holder: int | None) -> None:
        self.holder = holder
        who = "" if holder is None else f" (process {holder})"
        who_fr = "" if holder is None else f" (processus {holder})"
        super().__init__(
            Text(
                f"Another server{who} already uses the data directory {directory}."
                " Stop it, or choose another directory with FHIR_SERVER_DATA.",
                f"Un autre serveur{who_fr} utilise déjà le répertoire de données {directory}."
                " Arrêtez-le, ou choisissez un autre répertoire avec FHIR_SERVER_DATA.",
            )
        )


class DataLock:
    """Holds ``server.lock`` in the directory from ``take`` to ``release`` or to the end of this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None
        # A forked child would keep the lock beyond its parent's death.
        os.register_at_fork(after_in_child=self._forget)

    def take(self) -> None:
        """Take the lock; raises ``DataDirectoryInUse`` when another process has it."""
        file = os.open(self._directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            os.close(file)
            raise DataDirectoryInUse(self._directory, int(holder) if holder.isdigit() else None) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Give the lock back; the file stays, so that nobody can lock a removed one."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
        self._forget()

    def _forget(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
