"""What a check hands to the check around it: problems whose location is completed on the way up.

A check that finds nothing returns None, so that the good case builds no path, no list and no text.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fhir_server.errors import Text

MAX_PROBLEMS = 100
"""How many problems of one resource are told; a body made of nothing but mistakes shall not cost more."""


class Problem(NamedTuple):
    """``where`` is relative to the value that was checked, such as ``.name[0].given[1]``; ``code`` an issue type."""

    where: str
    code: str
    text: Text


Problems = list[Problem]
Check = Callable[[Any], Problems | None]


def below(prefix: str, problems: Iterable[Problem]) -> Iterable[Problem]:
    """Yield the problems as seen from one step further up."""
    return (Problem(prefix + where, code, text) for where, code, text in problems)


def structure_problem(text: Text, where: str = "") -> Problem:
    """Return a problem of shape: a wrong JSON type, an unknown element, too many of one."""
    return Problem(where, "structure", text)


def required_problem(text: Text, where: str = "") -> Problem:
    """Return the problem that something is missing."""
    return Problem(where, "required", text)


def value_problem(text: Text, where: str = "") -> Problem:
    """Return the problem that a value breaks the format of its datatype."""
    return Problem(where, "value", text)
