"""Query strings by the thousand, out of R4's grammar of searches and of what people and attackers make of it."""

from collections.abc import Iterator
from random import Random
from urllib.parse import quote

from fhir_server.fhir.definitions import resource_types
from fhir_server.search.parameters import search_parameters

TYPES = sorted(resource_types())
LIKELY = ["Patient", "Observation", "Encounter", "DocumentReference", "Appointment", "Condition", "ValueSet", "Bundle"]
MODIFIERS = [
    "missing", "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier",
    "Patient", "Device", "iterate", "recurse", "nothing", "", "$ne", ":",
]  # fmt: skip
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx", "GE", "gele"]
RESULTS = {
    "_count": ["0", "1", "50", "-1", "1e9", "999999999999", "", "x", "１"],
    "_sort": ["_id", "-_lastUpdated", "date", "-date,_id", "name,-birthdate", "--date", ",", "$where", "code"],
    "_total": ["none", "estimate", "accurate", "all", ""],
    "_summary": ["true", "false", "text", "data", "count", "maybe"],
    "_elements": ["name", "Patient.name", "id,meta", "nothing", "a..b", "$where", "name.given"],
    "_include": ["*", "Observation:subject", "Observation:subject:Patient", "Patient:*", "Patient", "a:b:c:d", ":::"],
    "_revinclude": ["*", "Observation:subject", "Provenance:target", "Observation:*", "$x"],
    "_contained": ["true", "both", "false"],
    "_containedType": ["container", "contained"],
    "_type": ["Patient", "Patient,Observation", "Nothing", ""],
    "_list": ["1", "$current-problems", "a/b", ""],
    "_text": ["fever", "fever AND cough", '"', "(((", "-x", ""],
    "_content": ["fever", "a" * 300, "é", "* OR *"],
    "_query": ["x"],
    "__explain": ["true", "false", "1"],
    "_filter": [
        "name eq 'x'", "birthdate gt 2000-01-01 and name co \"a\"", "not (name eq x)", "((((", "given eq 'it\\'s'",
        "patient.name eq x", "name re ^(a+)+$", "identifier[system eq x].value eq y", "(" * 200 + ")" * 200, "",
    ],
    "_has": ["x"],
    "near": ["48.8|2.3|10|km", "91|181", "a|b|c|d", "0|0|-1|km", "48.8|2.3|1e400|km"],
}  # fmt: skip
SCRAPS = [
    "", "x", "dupont", "é", "\0", "%", "\\", "\\,", "\\|", "\\$", ",", ",,", "|", "||", "|||", "$", "$$", "a$b$c",
    "http://loinc.org|718-7", "|718-7", "http://loinc.org|", "Patient/1", "Patient/1/_history/2", "Patient/", "/1",
    "http://example.org/fhir/Patient/1", "urn:uuid:0", "http://x|1.0", "#a", "true", "false", "TRUE", "null",
    "2020", "2020-02", "2020-02-30", "2020-02-29T24:00:00Z", "2020-01-01T10:00:00+14:00", "0000", "9999-12-31", "-1",
    "2020-01-01T00:00:00.123456789Z", "10000-01-01", "now", "5.4", "5.40", "-0", "1e400", "1e-400", "1" * 400, ".5",
    "5.", "NaN", "Infinity", "0x10", "5.4|http://unitsofmeasure.org|mg", "5.4||mg", "5.4|mg", "5|u|kg.m/s2", "5|||",
    '{"$ne": null}', "{$where: 'sleep(1000)'}", "[$ne]", "(a+)+$", "^.*", ".*", "a" * 2_000, "'; drop table x",
    "../../etc/passwd", "<script>", "\u202e", "\ud83d\ude00", "a" * 64, "\x7f", "%00", "%25", "+", "&", "=",
]  # fmt: skip


def queries(seed: int, count: int) -> Iterator[str]:
    """Yield paths with their queries, always the same for a seed."""
    random = Random(seed)
    for _ in range(count):
        path = random.choice(["", *LIKELY, *LIKELY, random.choice(TYPES), "Patient/1/*", "Patient/1/Observation"])
        kind = path if path in TYPES else "Observation"
        pairs = [_pair(random, kind) for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5, 12]))]
        yield f"{path}?{random.choice(['&', '&', '&', '&&', ';'])[:2].join(pairs)}"


def _pair(random: Random, kind: str) -> str:
    if random.random() < 0.25:
        name = random.choice(list(RESULTS))
        value = random.choice(RESULTS[name]) if random.random() < 0.8 else random.choice(SCRAPS)
    else:
        name, value = _name(random, kind), _value(random)
    written = quote(name.encode("utf-8", "surrogatepass"), safe=":._-")
    return f"{written}={quote(value.encode('utf-8', 'surrogatepass'), safe=',|$:/')}"


def _name(random: Random, kind: str) -> str:
    parameters = search_parameters(kind)
    code = random.choice(parameters).code if random.random() < 0.9 else random.choice(SCRAPS)
    draw = random.random()
    if draw < 0.3:
        return f"{code}:{random.choice(MODIFIERS)}"
    if draw < 0.45:
        return ".".join(
            [
                code,
                *(
                    random.choice(["name", "patient", "subject", "organization"])
                    for _ in range(random.choice([1, 1, 2, 3, 30]))
                ),
            ]
        )
    if draw < 0.5:
        return f"subject:Patient.{code}"
    if draw < 0.6:
        hop = random.choice(["Observation:subject", "Provenance:target", "Encounter:patient", "X:y", "Observation:"])
        return "_has:" * random.choice([1, 1, 2, 30]) + f"{hop}:{code}"
    if draw < 0.63:
        return f"{code}[$ne]"
    return code


def _value(random: Random) -> str:
    values = [random.choice(PREFIXES) * (random.random() < 0.4) + random.choice(SCRAPS)]
    while random.random() < 0.25:
        values.append(random.choice(SCRAPS))
    joined = random.choice([",", ",", "$", "|"]).join(values)
    return joined * (500 if random.random() < 0.002 else 1)
