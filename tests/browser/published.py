"""The SMART client library of the browser, as npm publishes it, fetched once into ``build/``."""

from tests.npm import unpacked

PACKAGE = "fhirclient@2.6.3"
SHA512 = (
    "0a2ad98b173059e95b9085f1a7194d431e7e65d262ae5e85d6ce32e32bc0d57e"
    "e11c092bf67f7d6951da322d305fef7b9c04e3290eb95fa341e5ab3fc19a09ce"
)


def fhir_client() -> bytes:
    """Return the library's build for browsers."""
    return (unpacked(PACKAGE, SHA512, "fhirclient") / "build" / "fhir-client.min.js").read_bytes()
