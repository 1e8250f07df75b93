"""What shows each claim about a search parameter: a search that finds one resource and leaves out another.

For each member of a parameter's expression, and each type of value that it may lead to, there are two resources with
different values, ``a`` and ``b``, and one without any, ``none``. A claim is a modifier (``:missing``), a prefix
(``gt``) or the parameter alone (""); ``proofs`` says by which query value it is shown and what that must find.
Spec: http://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.search.parameters import SearchParameter
from tests.conformance.generated import CODES, IDENTIFIER_TYPES, Built, build, codes_of, kinds

VALUE_SETS = "http://example.org/ValueSet"
PREFIXED = {"eq": "a", "ne": "b", "gt": "b", "lt": "a", "ge": "b", "le": "a", "sa": "b", "eb": "a", "ap": "a"}
"""What each prefix finds: with the value of ``a`` where that is an end, with that of ``b`` where the other is."""
WITH_THE_UPPER = ("lt", "ge", "eb")
_CODED = ("CodeableConcept", "Coding", "Identifier")


@dataclass(frozen=True)
class Case:
    """Two resources with a value, for one member of one parameter's expression; ``number`` makes their ids."""

    parameter: SearchParameter
    number: int
    a: Built
    b: Built

    def ids(self, names: str) -> set[str]:
        """Return the ids of ``a``, ``b`` and ``-``, the resource without a value."""
        return {"none" if name == "-" else f"c{self.number}{name}" for name in names}


@dataclass(frozen=True)
class Proof:
    """A search by ``name=value`` among the three resources of a case finds these: "ab-", "a", …"""

    claim: str
    name: str
    value: str
    finds: str


def cases(parameters: list[SearchParameter]) -> Iterator[Case]:
    """Yield the cases of parameters, numbered."""
    number = 0
    for parameter in parameters:
        for part in parameter.parts:
            for kind in kinds(parameter, part):
                yield Case(parameter, number, build(parameter, part, 1, kind), build(parameter, part, 2, kind))
                number += 1


def proofs(case: Case) -> Iterator[Proof]:
    """Yield what shows the claims about the parameter, as far as the case's type of value can."""
    parameter, name, asked = case.parameter, case.parameter.code, case.a.asked
    yield Proof("", name, asked, "a")
    for modifier in parameter.modifiers:
        for value, finds in _modified(case, modifier):
            yield Proof(f":{modifier}", f"{name}:{modifier}", value, finds)
    if parameter.type == "reference" and case.a.kind in ("Reference", "Resource"):
        kind, _, id = asked.partition("/")
        yield Proof(":[type]", f"{name}:{kind}", id, "a")
    elif parameter.type == "reference":
        yield Proof(":[type]", f"{name}:{parameter.targets[0]}", asked, "a")
    for prefix in parameter.prefixes:
        value = case.b.asked if prefix in WITH_THE_UPPER else asked
        yield Proof(prefix, name, f"{prefix}{value}", PREFIXED[prefix])


def _modified(case: Case, modifier: str) -> Iterator[tuple[str, str]]:
    """Yield query values with what they find; none where the type of value knows no such thing."""
    asked, kind, always = case.a.asked, case.a.kind, case.a.asked == "true" and not case.a.kind
    match modifier:
        case "missing":
            # "Has one died?" has an answer whether the element is there or not.
            yield from (("true", ""), ("false", "ab-")) if always else (("true", "-"), ("false", "ab"))
        case "not":
            yield asked, "b-"
        case "exact":
            yield asked, "a"
            yield asked.upper(), ""
        case "contains":
            yield asked[1:], "a"
        case "text" if kind in _CODED:
            yield "Gamma1", "a"
        case "of-type" if kind == "Identifier":
            yield f"{IDENTIFIER_TYPES}|MR|alpha1", "a"
        case "identifier" if kind == "Reference":
            yield f"{CODES}|alpha1", "a"
        case _:
            yield from _hierarchical(case, modifier)


def _hierarchical(case: Case, modifier: str) -> Iterator[tuple[str, str]]:
    parameter, asked, kind = case.parameter, case.a.asked, case.a.kind
    system = CODES if kind in _CODED else parameter.system if kind == "code" else None
    match modifier, parameter.type:
        case "in" | "not-in", _ if system:
            yield f"{VALUE_SETS}/{value_set_id(system)}", "a" if modifier == "in" else "b-"
        case "above" | "below", "token" if system == CODES:
            yield f"{CODES}|{'leaf1' if modifier == 'above' else 'root1'}", "a"
        case "above" | "below", "token" if system:
            yield f"{system}|{codes_of(system)[0]}", "a"
        case "below", "reference" if kind == "canonical":
            yield asked.removesuffix(".2"), "a"
        case "below", "uri":
            yield asked.partition("/x")[0], "a"
        case "above", "uri":
            yield f"{asked}/further", "a"


def value_set_id(system: str) -> str:
    """Return the id of the ValueSet with the first code of a system."""
    return "".join(one if one.isalnum() else "-" for one in system)[-64:]


def terminology(systems: set[str]) -> Iterator[dict[str, Any]]:
    """Yield a ValueSet of the first code of each system, and code systems that R4 does not have."""
    for system in sorted({CODES, *systems}):
        codes = codes_of(system)
        include = [{"system": system, "concept": [{"code": codes[0]}]}]
        id = value_set_id(system)
        yield {
            "resourceType": "ValueSet",
            "id": id,
            "url": f"{VALUE_SETS}/{id}",
            "status": "active",
            "compose": {"include": include},
        }
        if codes[0] == "alpha1":
            yield {
                "resourceType": "CodeSystem",
                "id": id,
                "url": system,
                "status": "active",
                "content": "complete",
                "hierarchyMeaning": "is-a",
                "concept": [
                    {
                        "code": f"root{number}",
                        "concept": [{"code": f"alpha{number}", "concept": [{"code": f"leaf{number}"}]}],
                    }
                    for number in (1, 2)
                ],
            }
