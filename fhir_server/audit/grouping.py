"""From what a request has touched to events: one for each action, patient and set of labels, none too long. Pure.

A search's query goes to the event of the one patient that it names, else into an event of its own without a patient:
what somebody asked about others is not told to each patient found. What bears a label is told apart from what does
not, so that a trace which somebody may not see takes nothing else with it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_plus

from fhir_server.audit.touched import Touched

MOST_REFERENCES = 100
"""Resources that one event names; more make further events."""

_PATIENT = re.compile(r"(?:Patient/)?([A-Za-z0-9.-]{1,64})")
_PATIENT_PARAMETERS = ("patient", "subject", "subject:Patient", "patient:Patient", "beneficiary", "_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that stands in the audit as it was put: ``action`` is ``search``, ``history`` or ``operation``."""

    action: str
    segments: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    subject: str | None = None
    """The patient that is meant where none is named."""

    @property
    def text(self) -> str:
        """The question as a relative URL."""
        path = "/".join(self.segments)
        if not self.parameters:
            return path
        return f"{path}?{'&'.join([f'{_quote(name)}={_quote(value)}' for name, value in self.parameters])}"

    @property
    def patient(self) -> str | None:
        """The one patient that is asked about, ``Patient/id``; None if none or more are named."""
        if self.segments[:1] == ("Patient",) and len(self.segments) > 1 and self.segments[1][:1] not in ("_", "$"):
            return f"Patient/{self.segments[1]}"
        named = [pair for pair in self.parameters if pair[0] in _PATIENT_PARAMETERS]
        if len(named) != 1 or (named[0][0] == "_id" and self.segments[:1] != ("Patient",)):
            return self.subject
        name, value = named[0]
        match = _PATIENT.fullmatch(value)
        if match is None or (name == "subject" and not value.startswith("Patient/")):
            return None
        return f"Patient/{match[1]}"


def _quote(text: str) -> str:
    return _quoted(text) if len(text) <= _SHORT else quote_plus(text)


_SHORT = 100
_quoted = lru_cache(maxsize=4_096)(quote_plus)
"""For short texts: names, codes and counts come again and again."""


@dataclass(slots=True)
class Group:
    """What one event tells: ``resources`` are references with the versions shown."""

    action: str
    patient: str | None
    labels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    query: str = ""
    resources: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions told of any of them, each once."""
        return versions_in(self.resources)


def versions_in(resources: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the versions that are known, each once, in the order in which they are told."""
    return tuple(dict.fromkeys([one for each in dict.fromkeys(resources.values()) for one in each if one]))


class Noted(NamedTuple):
    """What was touched together and the question, by its number, that brought it up; -1 for none."""

    touched: Sequence[Touched]
    asked: int = -1


Key = tuple[int, str, str | None, tuple[str, ...], str]


def build_groups(noted: Iterable[Noted], asked: Sequence[Asked]) -> list[Group]:
    """Return what each event shall tell; a question that brought nothing up has one as well."""
    groups: dict[Key, Group] = {}
    for touched, by in noted:
        told: list[Group] = []
        before: tuple[object, ...] = ()
        for one in touched:
            action, reference, version, patients, labels, rule = one
            kind = (action, patients, labels, rule)
            if kind != before:  # mostly a page is of one patient: its event is looked for once
                told, before = _groups_of(one, by, asked, groups), kind
            for group in told:
                shown = group.resources.get(reference, ())
                if version not in shown:
                    group.resources[reference] = (*shown, version)
    for number, question in enumerate(asked):
        _give(groups, number, question)
    return [part for group in groups.values() for part in _split(group)]


def _groups_of(one: Touched, number: int, asked: Sequence[Asked], groups: dict[Key, Group]) -> list[Group]:
    """Return the groups that tell of it, one for each patient; those that are missing are added."""
    action = asked[number].action if number >= 0 else one.action
    found = []
    for patient in one.patients or (None,):
        key = (number, action, patient, one.labels, one.rule)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(action, patient, one.labels, (one.rule,) if one.rule else ())
        found.append(group)
    return found


def _give(groups: dict[Key, Group], number: int, asked: Asked) -> None:
    """Give the question to the event about the patient that it names, one without labels if there is one."""
    patient = asked.patient
    fitting = [group for key, group in groups.items() if key[0] == number and group.patient == patient]
    if fitting:
        min(fitting, key=lambda group: len(group.labels)).query = asked.text
        return
    groups[number, asked.action, patient, (), ""] = Group(asked.action, patient, query=asked.text)


def _split(group: Group) -> Iterator[Group]:
    if len(group.resources) <= MOST_REFERENCES:
        yield group
        return
    every = list(group.resources.items())
    for start in range(0, len(every), MOST_REFERENCES):
        part = dict(every[start : start + MOST_REFERENCES])
        query = group.query if not start else ""
        yield Group(group.action, group.patient, group.labels, group.rules, query, part)
