"""One JSON line per request and per incident on standard output, with nothing in it that a caller or a record said.

A line holds the request id, the route's template and numbers: never a raw path, a query, a header or a body. Of an
exception it holds the type and the lines of code, never the message, which may quote a value.
"""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from fhir_server.settings import LogFormat, LogLevel

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROOT = str(Path(__file__).parents[2]) + os.sep
_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_MOST_FRAMES = 30


class Log:
    """Writes lines to a file descriptor, each in one call, so that the lines of several workers do not mix."""

    def __init__(self, level: LogLevel = "info", format: LogFormat = "json", descriptor: int = 1) -> None:
        self._level = _LEVELS[level]
        self._text = format == "text"
        self._descriptor = descriptor

    def request(self, request_id: str, method: str, route: str, status: int, seconds: float, size: int) -> None:
        """Write the line of an answered request."""
        level = "info" if status < 500 else "error"
        if _LEVELS[level] >= self._level:
            self._write(
                {
                    "time": datetime.now(UTC),
                    "level": level,
                    "event": "request",
                    "request_id": request_id,
                    "method": method if method in _METHODS else "OTHER",
                    "route": route,
                    "status": status,
                    "duration_ms": round(seconds * 1000, 3),
                    "bytes": size,
                }
            )

    def failure(self, request_id: str, error: BaseException, level: LogLevel = "error") -> None:
        """Write the line of an error: types and places only."""
        if _LEVELS[level] >= self._level:
            self._write(
                {
                    "time": datetime.now(UTC),
                    "level": level,
                    "event": "failure",
                    "request_id": request_id,
                    "causes": describe_causes(error),
                }
            )

    def event(self, level: LogLevel, event: str, **values: str | int | float) -> None:
        """Write the line of something that happened to the server itself."""
        if _LEVELS[level] >= self._level:
            self._write({"time": datetime.now(UTC), "level": level, "event": event, **values})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            os.write(self._descriptor, _plain(line) if self._text else orjson.dumps(line, option=_LINE))
        except OSError:
            # Nobody reads the log any more; answers matter more than lines.
            return


class JsonHandler(logging.Handler):
    """Brings the lines of libraries into the same form; texts of exceptions are left out."""

    def __init__(self, log: Log | None = None) -> None:
        super().__init__(logging.WARNING)
        self._log = log or Log()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's logger, place and the constant part of its message."""
        level: LogLevel = "error" if record.levelno >= logging.ERROR else "warning"
        place = f"{record.module}:{record.lineno}"
        self._log.event(level, "library", logger=record.name, template=str(record.msg)[:200], place=place)


def take_over_library_logs(log: Log) -> None:
    """Send what libraries log through Python's logging to ``log``."""
    logging.basicConfig(handlers=[JsonHandler(log)], level=logging.WARNING, force=True)


def describe_causes(error: BaseException) -> list[dict[str, Any]]:
    """Return the chain of an error as type and frames, the outermost first, without any message."""
    causes: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(causes) < 5:
        frames = list(_frames(current.__traceback__))[-_MOST_FRAMES:]
        causes.append({"type": f"{type(current).__module__}.{type(current).__qualname__}", "frames": frames})
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return causes


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield f"{code.co_filename.removeprefix(_ROOT)}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next


def _plain(line: dict[str, Any]) -> bytes:
    words = [f"{name}={value}" for name, value in line.items() if name not in ("time", "level")]
    moment = line["time"].strftime("%H:%M:%S.%f")[:-3]
    text = f"{moment} {line['level']:<7} {' '.join(words)}"
    return text.replace("\n", " ").replace("\r", " ").encode(errors="replace") + b"\n"
