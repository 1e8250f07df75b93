"""Read back every resource that ``fhir-server load`` sent, and compare it digit for digit with what the files hold.

What R4 lets the server set is left out of the comparison: id, meta, and references that a transaction rewrites
(``urn:uuid:…`` and conditional ones), which must have become references to the right type.

    python scripts/verify_load.py --url http://127.0.0.1:8000/fhir FOLDER
"""

import argparse
import bz2
import http.client
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_server.fhir.json import parse_json, to_json


def sent_entries(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yield each entry of a bundle with the map of full urls to what they must have become."""
    content = path.read_bytes()
    bundle = parse_json(bz2.decompress(content) if path.suffix == ".bz2" else content)
    mapping = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in bundle["entry"]
    }
    for entry in bundle["entry"]:
        yield entry, mapping


def fetch(connection: http.client.HTTPConnection, base: str, entry: dict[str, Any]) -> Any:
    """Return the stored resource of an entry, ``None`` when it is not there; a conditional create by its criteria."""
    kind = entry["resource"]["resourceType"]
    criteria = entry["request"].get("ifNoneExist")
    address = f"{kind}?{criteria}" if criteria else f"{kind}/{entry['resource']['id']}"
    connection.request("GET", f"{base}/{address}", headers={"Accept": "application/fhir+json"})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        return None
    if not criteria:
        return parse_json(content)
    found = parse_json(content).get("entry", [])
    return found[0]["resource"] if len(found) == 1 else None


def differences(sent: Any, found: Any, mapping: dict[str, str], where: str) -> Iterator[str]:
    """Yield a sentence for each place where what is found is not what was sent."""
    if isinstance(sent, dict) and isinstance(found, dict):
        ignored = {"id", "meta"} if "resourceType" in sent and "." not in where else set()
        for name in sorted((sent.keys() | found.keys()) - ignored):
            if name not in sent or name not in found:
                yield f"{where}.{name} is {'new' if name not in sent else 'lost'}"
            else:
                yield from differences(sent[name], found[name], mapping, f"{where}.{name}")
    elif isinstance(sent, list) and isinstance(found, list) and len(sent) == len(found):
        for number, (one, other) in enumerate(zip(sent, found, strict=True)):
            yield from differences(one, other, mapping, f"{where}[{number}]")
    elif to_json(sent) != to_json(found) and not rewritten(sent, found, mapping):
        yield f"{where} differs"


def rewritten(sent: Any, found: Any, mapping: dict[str, str]) -> bool:
    """Return whether ``found`` is the reference that ``sent`` had to become."""
    if not isinstance(sent, str) or not isinstance(found, str):
        return False
    return mapping.get(sent) == found or ("?" in sent and found.startswith(sent.partition("?")[0] + "/"))


def compare_file(path: Path, url: str) -> tuple[int, list[str]]:
    """Return how many resources of a file were compared, and every difference."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    count, found = 0, []
    for entry, mapping in sent_entries(path):
        count += 1
        sent = entry["resource"]
        stored = fetch(connection, parts.path, entry)
        if stored is None:
            found.append(f"{path.name}: {sent['resourceType']}/{sent['id']} is not there")
            continue
        found += [f"{path.name}: {one}" for one in differences(sent, stored, mapping, sent["resourceType"])]
    connection.close()
    return count, found


def main() -> int:
    """Compare all files and return 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".json", ".bz2"))
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: compare_file(path, arguments.url), paths))
    count = sum(one for one, _ in results)
    different = [sentence for _, sentences in results for sentence in sentences]
    for sentence in different[:20]:
        print(sentence)
    print(
        f"{count} resources of {len(paths)} files read back in {time.monotonic() - started:.0f} s,"
        f" {len(different)} differences"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
