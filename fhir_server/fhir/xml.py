"""FHIR XML, read and written exactly: the same resource as in JSON, by the same definitions.

Element order, attributes, choices and cardinalities come from ``definitions``; narratives pass through character for
character. Spec: http://hl7.org/fhir/R4/xml.html
"""

from typing import Any

from fhir_server.fhir.xml_reading import read_resource
from fhir_server.fhir.xml_source import parse_source
from fhir_server.fhir.xml_writing import write_resource


def parse_xml(data: bytes) -> dict[str, Any]:
    """Return the resource of an XML document as ``parse_json`` would return it.

    Refused: DTDs and entities, processing instructions, other encodings than UTF-8, more than ``MAX_DEPTH`` levels.
    Raises ``errors.Structure`` with one issue for each unknown element or attribute, wrong namespace, stray text,
    wrong order, missing or malformed value; line and column are in ``diagnostics``.
    """
    return read_resource(parse_source(data))


def to_xml(resource: dict[str, Any], pretty: bool = False) -> bytes:
    """Return the resource as a UTF-8 XML document, indented by two spaces if ``pretty``.

    Raises ``errors.Structure`` with one issue for everything that R4 does not define or XML cannot carry.
    """
    return write_resource(resource, pretty).encode("utf-8")
