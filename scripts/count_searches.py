"""Ask a loaded server the README's searches as they stand there, and count what they must find in the files.

Nothing of the server's code has a part in the counting. ``FHIR_TOKEN`` holds the token, where one is needed.

python scripts/count_searches.py --url http://127.0.0.1:8000/fhir FOLDER fhir_server/commands/demo.json
"""

import argparse
import bz2
import json
import os
import re
import sys
import unicodedata
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Resource = dict[str, Any]


def read_resources(paths: Iterable[Path]) -> dict[str, list[Resource]]:
    """Return all resources of the bundles in files and folders by type; those created conditionally once."""
    found: dict[str, dict[str, Resource]] = {}
    for path in [each for one in paths for each in (sorted(one.iterdir()) if one.is_dir() else [one])]:
        if path.suffix not in (".json", ".bz2"):
            continue
        content = path.read_bytes()
        for entry in json.loads(bz2.decompress(content) if path.suffix == ".bz2" else content)["entry"]:
            resource = entry["resource"]
            key = entry["request"].get("ifNoneExist") or resource["id"]
            found.setdefault(resource["resourceType"], {})[key] = resource
    return {kind: list(resources.values()) for kind, resources in found.items()}


def plain(text: str) -> str:
    """Return a text without case and accents."""
    return "".join(one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))


def codes(concept: Resource) -> Iterator[str]:
    """Yield the codes of a CodeableConcept."""
    yield from (coding["code"] for coding in concept.get("coding", ()))


def names(patient: Resource) -> Iterator[str]:
    """Yield every part of a Patient's names, without case and accents."""
    for name in patient.get("name", ()):
        parts = [name.get("family"), name.get("text"), *name.get("given", ()), *name.get("prefix", ())]
        yield from (plain(part) for part in [*parts, *name.get("suffix", ())] if part)


def quantity(observation: Resource, code: str, unit: str) -> float | None:
    """Return the value of an Observation, or of its component, with that code and unit."""
    for part in (observation, *observation.get("component", ())):
        value = part.get("valueQuantity", {})
        if code in codes(part["code"]) and value.get("code") == unit:
            return float(value["value"])
    return None


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a resource or an element of it."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


def words(text: str) -> set[str]:
    """Return the words of a text, without case and accents."""
    return set(re.findall(r"\w+", plain(text)))


def subject(resource: Resource) -> str:
    """Return the id of the Patient that a resource is about."""
    reference = resource.get("subject") or resource.get("patient") or {}
    return str(reference.get("reference", "")).removeprefix("urn:uuid:").removeprefix("Patient/")


def expected(records: dict[str, list[Resource]]) -> dict[str, int]:
    """Return the number that each search must find."""
    patients, observations = records["Patient"], records["Observation"]
    conditions, encounters = records["Condition"], records["Encounter"]
    women = {one["id"] for one in patients if one["gender"] == "female"}
    diabetics = {subject(one) for one in conditions if "44054006" in codes(one["code"])}

    def count(resources: list[Resource], holds: Callable[[Resource], bool]) -> int:
        return sum(1 for one in resources if holds(one))

    def above(code: str, limit: float, unit: str) -> Callable[[Resource], bool]:
        return lambda one: (value := quantity(one, code, unit)) is not None and value > limit

    heights = count(observations, lambda one: "8302-2" in codes(one["code"]))
    heights_of_women = count(observations, lambda one: "8302-2" in codes(one["code"]) and subject(one) in women)
    return {
        "Patient?name=j": count(patients, lambda one: any(name.startswith("j") for name in names(one))),
        "Patient?address-city:contains=field": count(
            patients, lambda one: any("field" in plain(each.get("city", "")) for each in one.get("address", ()))
        ),
        "Patient?gender:not=female": len(patients) - len(women),
        "Patient?death-date:missing=false": count(patients, lambda one: "deceasedDateTime" in one),
        "Patient?birthdate=ge1980&birthdate=lt1990": count(patients, lambda one: "1980" <= one["birthDate"] < "1990"),
        "Observation?code=http://loinc.org|8302-2": heights,
        "Encounter?class=EMER": count(encounters, lambda one: one["class"]["code"] == "EMER"),
        "Observation?code=29463-7&value-quantity=gt100000|http://unitsofmeasure.org|g": count(
            observations, above("29463-7", 100, "kg")
        ),
        "Observation?code-value-quantity=http://loinc.org|8302-2$gt180": count(
            observations, lambda one: "8302-2" in codes(one["code"]) and above("8302-2", 180, "cm")(one)
        ),
        "Observation?component-code-value-quantity=http://loinc.org|8480-6$gt140": count(
            observations, lambda one: "8480-6" not in codes(one["code"]) and above("8480-6", 140, "mm[Hg]")(one)
        ),
        "Observation?code=8302-2&patient.gender=female": heights_of_women,
        "Patient?_has:Condition:patient:code=44054006": len(diabetics),
        "Procedure?subject:Patient._has:Condition:patient:code=44054006": count(
            records["Procedure"], lambda one: subject(one) in diabetics
        ),
        "Condition?code:text=diabetes": count(
            conditions, lambda one: any("diabetes" in words(text) for text in texts(one["code"]))
        ),
        "Condition?_content=diabetes": count(
            conditions, lambda one: any("diabetes" in words(text) for text in texts(one))
        ),
        "Patient?_filter=gender+eq+female+and+birthdate+ge+1990-01-01": count(
            patients, lambda one: one["id"] in women and one["birthDate"] >= "1990-01-01"
        ),
        "Observation?code=8302-2&_sort=-date,value-quantity&_count=20&_include=Observation:patient&_total=accurate": (
            heights
        ),
        "Patient?_elements=name,birthDate": len(patients),
        "Patient?_summary=count": len(patients),
    }


def searches(readme: str) -> list[str]:
    """Return the searches of the README's chapter; how one of them is run is told, not counted, by ``__explain``."""
    found = re.findall(r"^get '([^']*)'", readme, re.MULTILINE)
    return [search for search in found if "__explain" not in search]


def ask(url: str, search: str) -> int:
    """Return the total that the server tells of a search, asked as it is written."""
    told = "" if "_total" in search or "_summary" in search else "&_total=accurate"
    headers = {"Accept": "application/fhir+json"}
    if token := os.environ.get("FHIR_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{url}/{search}{told}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(json.load(answer)["total"])


def main() -> int:
    """Print each search with both counts, and return 1 when any two differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("paths", type=Path, nargs="+", help="all that the server holds: folders and files of bundles")
    arguments = parser.parse_args()
    different = 0
    counted = expected(read_resources(arguments.paths))
    for search in searches((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")):
        count = counted[search]
        told = ask(arguments.url, search)
        different += told != count
        print(f"{'ok ' if told == count else 'NOT'} {told:>7,} of {count:>7,}  {search}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
