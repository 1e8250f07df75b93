"""Two servers that are asked the same, and what of their answers must be equal."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import Any
from urllib.parse import unquote

from fhir_server.access.caller import Caller
from tests.access.callers import World, patient
from tests.access.two_worlds.requests import Asked
from tests.rest.fhir import Reply

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|\+00:00)")
_GIVEN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST_ID = re.compile(r"(?<=\"value\":\")[0-9a-f]{24}(?=\")")
_QUESTION = re.compile(r"(?<=\"query\":\")[A-Za-z0-9+/=]+(?=\")")
"""What somebody has asked, as the trail keeps it: with the times and ids of its own world."""
_PAGE = re.compile(r"_page=[A-Za-z0-9_=%-]+")
_OF_TIME = frozenset({"date", "last-modified", "content-length", "x-request-id"})
_PLACE = re.compile(r"\{(updated|made):([^{}]*)\}")
STRANGER = patient("stranger")
"""Somebody else, who has got hold of a page link."""


@dataclass
class Side:
    """One of the two worlds, with the names of what has been created in it."""

    world: World
    made: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    updated: dict[str, str] = field(default_factory=dict)

    def send(self, caller: Caller, asked: Asked) -> Reply:
        """Send the request with its places filled in; ``REWRITE`` reads something and writes it back, changed."""
        if asked.method == "REWRITE":
            return self._rewrite(caller, self._filled(asked.path), json.loads(self._filled(json.dumps(asked.body))))
        body = asked.body
        if body is not None and not isinstance(body, str):
            body = json.loads(self._filled(json.dumps(body), escaped=True))
        elif body is not None:
            body = self._filled(body)
        headers = {name: self._filled(value) for name, value in asked.headers.items()}
        if body is not None and not isinstance(body, str) and "Content_Type" in headers:
            body = json.dumps(body)
        reply = self.world.ask(caller).send(asked.method, self._filled(asked.path), body, **headers)
        self._note(reply)
        return reply

    def _rewrite(self, caller: Caller, path: str, change: dict[str, Any]) -> Reply:
        read = self.world.ask(caller).get(path)
        if read.status != 200:
            return read
        members = {**read.body, **change}.items()
        return self.world.ask(caller).put(path, {name: value for name, value in members if value is not None})

    def told(self, reply: Reply) -> tuple[int, list[tuple[str, str]], str]:
        """Return what of an answer may not differ."""
        headers = sorted(
            (name.lower(), self._named(value)) for name, value in reply.headers.items() if name.lower() not in _OF_TIME
        )
        return reply.status, headers, self._named(reply.content.decode("utf-8", "replace"))

    def _named(self, text: str) -> str:
        text = _QUESTION.sub(lambda found: unquote(b64decode(found[0]).decode()), text)
        text = _REQUEST_ID.sub("<request>", text)
        text = _PAGE.sub("_page=…", _INSTANT.sub("<instant>", text))
        return _GIVEN_ID.sub(lambda found: self.names.setdefault(found[0], f"<id {len(self.names)}>"), text)

    def _note(self, reply: Reply) -> None:
        location = reply.headers.get("Location")
        if reply.status == 201 and location is not None:
            self.made.append("/".join(location.split("/fhir/")[-1].split("/")[:2]))

    def _filled(self, text: str, *, escaped: bool = False) -> str:
        def fill(found: re.Match[str]) -> str:
            if found[1] == "updated":
                return self.updated.get(found[2], "2020-01-01T00:00:00Z")
            number, _, kind = found[2].partition(":")
            fitting = [one for one in self.made if one.startswith(f"{kind}/")]
            return fitting[int(number) % len(fitting)] if fitting else f"{kind}/not-made"

        while _PLACE.search(text):
            text = _PLACE.sub(fill, text)
        return text


@dataclass
class Twins:
    """The two worlds."""

    first: Side
    second: Side

    def compare(self, caller: Caller, asked: Asked) -> int:
        """Ask both, page by page; return how many requests that were. Raises ``AssertionError`` on any difference."""
        replies = self._both(caller, asked)
        sent, links = 1, [self._next(reply) for reply in replies]
        while links[0] is not None and links[1] is not None and sent < 5:
            if sent == 1:
                self._both(STRANGER, Asked("GET", "{page}"), links, status=404)
                sent += 1
            links = [self._next(reply) for reply in self._both(caller, Asked("GET", "{page}"), links)]
            sent += 1
        return sent

    def _both(
        self, caller: Caller, asked: Asked, paths: Sequence[str | None] = (), status: int | None = None
    ) -> list[Reply]:
        replies = []
        for number, side in enumerate((self.first, self.second)):
            path = paths[number] if paths else None
            replies.append(side.send(caller, asked if path is None else Asked(asked.method, path)))
        told = [side.told(reply) for side, reply in zip((self.first, self.second), replies, strict=True)]
        assert told[0] == told[1], describe(caller, asked, told)
        assert replies[0].status < 500, describe(caller, asked, told)
        assert status in (None, replies[0].status), describe(caller, asked, told)
        return replies

    def _next(self, reply: Reply) -> str | None:
        if reply.status != 200 or b'"next"' not in reply.content:
            return None
        body = json.loads(reply.content)
        links = body.get("link", []) if body.get("resourceType") == "Bundle" else []
        return next((link["url"] for link in links if link["relation"] == "next"), None)


def describe(caller: Caller, asked: Asked, told: Iterable[tuple[int, list[tuple[str, str]], str]]) -> str:
    """Return the request and how the answers differ."""
    texts = []
    for status, headers, content in told:
        with suppress(ValueError):
            content = json.dumps(json.loads(content), indent=1, ensure_ascii=False)
        texts.append([str(status), *(f"{name}: {value}" for name, value in headers), *content.splitlines()])
    difference = "\n".join(list(unified_diff(*texts, "first world", "second world", lineterm=""))[:80])
    asked_text = f"{asked.method} {asked.path} {dict(asked.headers)} {json.dumps(asked.body)}"
    whole = "\n".join(texts[0][:40]) if not difference else ""
    return f"{caller.key} asks\n{asked_text}\n{difference}{whole}"
