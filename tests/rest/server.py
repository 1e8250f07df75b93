"""A server process as its operator starts it, for tests that need a real one."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPEN = {"FHIR_SERVER_AUTH": "open"}
COMMAND = [sys.executable, "-m", "fhir_server.cli"]


@dataclass(frozen=True)
class Server:
    """A running ``fhir-server serve``; ``address`` is scheme, host and port, ``announcement`` what it has printed."""

    process: subprocess.Popen[str]
    address: str
    announcement: str
    data: Path

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self.address

    def get(self, path: str) -> tuple[int, bytes]:
        """GET and return status and body."""
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return answer.status, answer.read()


@contextmanager
def running_server(data: Path, *options: str, **given: str) -> Iterator[Server]:
    """Start a server, open unless ``given`` says otherwise, on a free port and stop it in the end; it must end well."""
    words = [*COMMAND, "serve", "--port", "0", "--data", str(data), *options]
    with (data / "log").open("w") as log:
        environ = {**os.environ, **OPEN, **given}
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.PIPE, text=True, env=environ)
        assert process.stderr is not None
        announcement = ""
        for line in process.stderr:
            announcement += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", announcement)
        assert found, announcement
        try:
            yield Server(process, found[0], announcement, data)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
            process.stderr.close()
        assert status == 0
