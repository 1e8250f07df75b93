"""What can be read off a search parameter's expression without evaluating it: its members, its path, its first step.

Spec: http://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression
"""

import re

from fhir_server.fhir.definitions import Element, has_structure, structure

_STEP = r"\.[A-Za-z]+"
_CAST = r"(?:\.as\((?P<as>[A-Za-z]+)\)|\.ofType\((?P<of>[A-Za-z]+)\)|\s+as\s+(?P<cast>[A-Za-z]+))"
_WHERE = r"\.where\((?:resolve\(\) is (?P<is>[A-Za-z]+)|[A-Za-z]+\s*=\s*'[^']*')\)"
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


def resolved_type_of(part: str) -> str | None:
    """Return the type of ``where(resolve() is Patient)`` at the end of a plain path, or None."""
    match = _PATH.fullmatch(part)
    return match["is"] if match and not match["rest"] else None


def elements_of(resource_type: str, steps: tuple[str, ...]) -> tuple[Element, ...] | None:
    """Return the elements that the steps go through, from the second step on; None where the definitions have none."""
    current, found = resource_type, []
    for name in steps[1:]:
        known = structure(current).elements if has_structure(current) else ()
        element = next((one for one in known if one.name == name), None)
        if element is None:
            return None
        found.append(element)
        current = element.types[0]
    return tuple(found)


def element_of(resource_type: str, part: str) -> Element | None:
    """Return the element that a plain path ends at, or None."""
    elements = elements_of(resource_type, steps_of(part))
    return elements[-1] if elements else None
