"""Send 100,000 generated search strings to the server in this process, on a database of its own, and count the faults.

No answer may be a 5xx, and none may take over two seconds.

    python scripts/fuzz_search.py --count 100000 --seed 1
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fhir_server.app import Composition, build_app
from fhir_server.settings import Settings
from fhir_server.storage.embedded import EmbeddedMongod
from tests.rest.fhir import Fhir
from tests.rest.search_grammar import queries
from tests.rest.test_search_fuzz import failures, fill


def main() -> int:
    """Return how many faults there were, 1 at most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory, EmbeddedMongod(Path(directory) / "db") as mongod:
        given = {"mongodb_uri": mongod.uri, "data_directory": Path(directory), "log_level": "error", "auth": "open"}
        composition = Composition(Settings.from_environment({}, **given))
        fhir = Fhir(build_app(composition))
        fill(fhir)
        began = time.monotonic()
        failed = failures(fhir, queries(arguments.seed, arguments.count))
        seconds = time.monotonic() - began
        composition.close()
    print(f"{arguments.count} queries in {seconds:.0f} s, {len(failed)} faults")
    for query, status, took in failed[:20]:
        print(f"  {status} {took} s {query}")
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())
