"""The work: what a server is asked, made from what it holds, and HAPI FHIR's figures for the same.

The figures: HAPI FHIR JPA starter 8.8.0, PostgreSQL 15, Java 17, 4 GB heap, two cores shared by server, database and
load (wrk, 8 connections), with the same 122 Synthea bundles.
"""

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from benchmarks.clients import Request

Resource = dict[str, Any]

_SAMPLE = 2_000


@dataclass(frozen=True, slots=True)
class Work:
    """One line of the table: ``hapi`` answers per second of HAPI FHIR, ``multiple`` what is to be reached of it.

    0: not measured there.
    """

    name: str
    requests: tuple[Request, ...]
    hapi: float
    multiple: float
    connections: int = 8


class Server:
    """A FHIR base, asked a few things to prepare the work."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self.root = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/")
        self._host = parts.netloc

    def get(self, path: str) -> tuple[int, Resource]:
        """Return status and body of a GET below the base."""
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request("GET", f"{self.path}/{path}", headers={"Accept": "application/fhir+json"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else {}
        finally:
            connection.close()

    def sample(self, kind: str) -> list[Resource]:
        """Return up to some thousand resources of a type, following page links."""
        found: list[Resource] = []
        path = f"{kind}?_count=500"
        while path and len(found) < _SAMPLE:
            status, page = self.get(path)
            if status != 200:
                raise RuntimeError(f"the search for {kind} answers {status}")
            found += [each["resource"] for each in page.get("entry", [])]
            following = [each["url"] for each in page.get("link", []) if each["relation"] == "next"]
            path = following[0].partition(f"{self.path}/")[2] if following else ""
        return found


def build_work(server: Server) -> list[Work]:
    """Return the lines of the table, with values that this server's own records have."""
    observations, patients = server.sample("Observation"), server.sample("Patient")
    return [
        *_reads(server.path, observations),
        *_searches(server.path, observations, patients),
        _create(server.path, observations),
    ]


def _reads(path: str, observations: Sequence[Resource]) -> Iterator[Work]:
    requests = tuple(Request(f"{path}/Observation/{each['id']}") for each in observations[:500])
    yield Work("read an Observation", requests, 1_008, 4)


def _searches(path: str, observations: Sequence[Resource], patients: Sequence[Resource]) -> Iterator[Work]:
    codes = [code for code, _ in Counter(filter(None, map(_code, observations))).most_common(5)]
    subjects = [each for each, _ in Counter(_subject(each) for each in observations).most_common(20)]
    families = sorted({each["name"][0]["family"][:4] for each in patients if each.get("name")})[:50]

    def searches(*queries: str) -> tuple[Request, ...]:
        return tuple(Request(f"{path}/{query}") for query in queries)

    def by_code(more: str) -> tuple[Request, ...]:
        return searches(*(f"Observation?code={code}{more}" for code in codes))

    yield Work("Observations by code, page of 50", by_code("&_count=50"), 63, 10)
    years = [(code, year) for year in range(1990, 2021) for code in sorted(filter(None, set(map(_code, observations))))]
    varying = [f"Observation?code={code}&date=lt{year}-06-01&_count=50" for code, year in years]
    yield Work(f"the same, {len(varying):,} different pages", searches(*varying), 0, 0)
    pairs = [f"Observation?patient={each}&code={code}&_count=50" for each in subjects for code in codes]
    yield Work("by patient + code, page of 50", searches(*pairs), 175, 5)
    yield Work("by code, newest first, page of 50", by_code("&_sort=-date&_count=50"), 65, 10)
    ranges = [f"Observation?patient={each}&date=ge2010-01-01&date=lt2021-01-01&_count=50" for each in subjects]
    yield Work("by patient + date range, page of 50", searches(*ranges), 165, 5)
    yield Work(
        "Patients by name, page of 20",
        searches(*(f"Patient?name={quote(each)}&_count=20" for each in families)),
        167,
        5,
    )
    includes = "&_include=Observation:subject&_include=Observation:encounter&_count=20"
    yield Work("by code with two includes, page of 20", by_code(includes), 65, 8)
    chains = [
        f"Observation?patient.gender={gender}&code={code}&_count=20" for gender in ("male", "female") for code in codes
    ]
    yield Work("by patient.gender chain + code, page of 20", searches(*chains), 99, 3)
    yield Work(
        "Patient/$everything, first 50", searches(*(f"{each}/$everything?_count=50" for each in subjects)), 38, 8
    )


def _create(path: str, observations: Sequence[Resource]) -> Work:
    bodies = []
    for each in observations[:200]:
        kept = {name: value for name, value in each.items() if name not in ("id", "meta", "encounter")}
        bodies.append(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))
    return Work(
        "create an Observation", tuple(Request(f"{path}/Observation", "POST", each) for each in bodies), 460, 3, 16
    )


def _code(observation: Resource) -> str:
    coding = (observation.get("code", {}).get("coding") or [{}])[0]
    return quote(f"{coding.get('system', '')}|{coding.get('code', '')}") if coding.get("code") else ""


def _subject(observation: Resource) -> str:
    return str(observation.get("subject", {}).get("reference", ""))
