"""What can be read off a search parameter's expression without evaluating it: its members, its path, its first step.

Spec: http://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression
"""

import re

_STEP = r"\.[A-Za-z]+"
_CAST = r"(?:\.as\((?P<as>[A-Za-z]+)\)|\.ofType\((?P<of>[A-Za-z]+)\)|\s+as\s+(?P<cast>[A-Za-z]+))"
_WHERE = r"\.where\((?:resolve\(\) is [A-Za-z]+|[A-Za-z]+\s*=\s*'[^']*')\)"
_PATH = re.compile(rf"\(?(?P<path>[A-Z][A-Za-z]*(?:{_STEP})+?){_CAST}?\)?(?P<where>{_WHERE})?(?P<rest>(?:{_STEP})*)")


def split_union(expression: str) -> tuple[str, ...]:
    """Return the members of ``a | b | c``, separators within parentheses and quotes aside."""
    members, depth, quoted, start = [], 0, False, 0
    for position, character in enumerate(expression):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            members.append(expression[start:position])
            start = position + 1
    members.append(expression[start:])
    return tuple(member.strip() for member in members if member.strip())


def steps_of(part: str) -> tuple[str, ...]:
    """Return the steps of a plain path, its casts and filters left out: ``("Observation", "value")``; else ()."""
    match = _PATH.fullmatch(part)
    return tuple((match["path"] + match["rest"]).split(".")) if match else ()


def cast_of(part: str) -> str | None:
    """Return the type that a plain path is cast to at the end of its first steps, or None."""
    match = _PATH.fullmatch(part)
    return (match["as"] or match["of"] or match["cast"]) if match else None


def first_step(part: str) -> str | None:
    """Return the name of the first step of a plain path (``value``), or None when it must always be evaluated."""
    steps = steps_of(part)
    return steps[1] if len(steps) > 1 else None
