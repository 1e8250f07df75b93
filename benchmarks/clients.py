"""Clients that cost the machine little: wrk where it is installed, else processes with a loop over plain sockets."""

import multiprocessing
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``path`` begins with a slash and is ready to be sent."""

    path: str
    method: str = "GET"
    body: str = ""
    token: str = ""

    def to_bytes(self, host: str) -> bytes:
        """Return the request as it goes over the wire."""
        content = self.body.encode()
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/fhir+json\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        if content:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(content)}\r\n"
        return head.encode() + b"\r\n" + content


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers per second, latencies in milliseconds, and how many answers were no success."""

    rate: float
    p50: float
    p99: float
    errors: int


def measure(base: str, requests: Sequence[Request], connections: int, seconds: float) -> Measured:
    """Return what repeating ``requests`` in turn gives; ``base`` names scheme, host and port."""
    if shutil.which("wrk"):
        return _with_wrk(base, requests, connections, seconds)
    return _with_sockets(base, requests, connections, seconds)


_SCRIPT = """
local requests = {}
local number = math.random(1, 1000000)
init = function(args)
%s
end
request = function()
  number = number + 1
  return requests[number %% #requests + 1]
end
done = function(summary, latency, rates)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), errors))
end
"""


def _with_wrk(base: str, requests: Sequence[Request], connections: int, seconds: float) -> Measured:
    host = urlsplit(base).netloc
    lines = "\n".join(f"  requests[#requests + 1] = {_lua(each.to_bytes(host))}" for each in requests)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "work.lua")
        script.write_text(_SCRIPT % lines, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(script), base]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = next(line for line in output.splitlines() if line.startswith("RESULT")).split()[1:]
    count, microseconds, p50, p99, errors = map(int, words)
    return Measured(count / microseconds * 1e6, p50 / 1e3, p99 / 1e3, errors)


def _lua(content: bytes) -> str:
    """Return a Lua string literal of any bytes."""
    plain = set(range(32, 127)) - {34, 92}
    return '"' + "".join(chr(each) if each in plain else f"\\{each:03d}" for each in content) + '"'


def _with_sockets(base: str, requests: Sequence[Request], connections: int, seconds: float) -> Measured:
    parts = urlsplit(base)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    ready = [each.to_bytes(parts.netloc) for each in requests]
    shares = [connections // _PROCESSES + (number < connections % _PROCESSES) for number in range(_PROCESSES)]
    with multiprocessing.get_context("spawn").Pool(_PROCESSES) as pool:
        jobs = [(address, ready, share, seconds) for share in shares if share]
        results = pool.starmap(_drive, jobs)
    latencies = sorted(latency for each, _ in results for latency in each)
    errors = sum(each for _, each in results)
    if not latencies:
        return Measured(0.0, 0.0, 0.0, errors)
    p50, p99 = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return Measured(len(latencies) / seconds, p50 * 1e3, p99 * 1e3, errors)


class _Connection:
    """One kept-alive connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._sent = 0.0

    def send(self, request: bytes) -> None:
        """Begin a request."""
        self._data = b""
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[float, bool] | None:
        """Return latency and success when the answer is whole, else ``None``."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._data += piece
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._data[:end].lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(self._data) < end + 4 + int(length or 0):
            return None
        return time.perf_counter() - self._sent, head[9:10] == b"2"


def _drive(
    address: tuple[str, int], requests: list[bytes], connections: int, seconds: float
) -> tuple[list[float], int]:
    """Return the latencies of all answers within the time, and how many were no success."""
    latencies, errors, number = [], 0, 0
    with selectors.DefaultSelector() as selector:
        opened = [_Connection(address) for _ in range(connections)]
        for number, connection in enumerate(opened):
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(requests[number % len(requests)])
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for key, _ in selector.select(1):
                answer = key.data.receive()
                if answer is not None:
                    latencies.append(answer[0])
                    errors += not answer[1]
                    number += 1
                    key.data.send(requests[number % len(requests)])
        for connection in opened:
            connection.socket.close()
    return latencies, errors
