"""What goes in comes out, digit for digit, in JSON and through XML, for everything that HL7 has published for R4."""

import json
import re

import orjson
import pytest

from fhir_server.fhir.json import parse_json, to_json, to_pretty_json
from fhir_server.fhir.xml import parse_xml, to_xml
from tests.conformance.examples import example_paths, package_paths

SLICES = range(8)
"""The package in parts, for as many test processes."""

STRING_OR_SPACE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[ \t\r\n]+')


def part(index):
    paths = package_paths()[index :: len(SLICES)]
    assert paths
    return paths


def small_examples():
    """All examples but the Bundles of the whole specification, which go through the tests above."""
    return [path for path in example_paths() if path.stat().st_size < 200_000]


def compact(data):
    """Return the JSON text without white space, its strings escaped in the one way that orjson does."""
    return STRING_OR_SPACE.sub(
        lambda match: orjson.dumps(json.loads(match[0])).decode() if match[0][0] == '"' else "", data.decode()
    ).encode()


def ordered(value):
    """Return the value with its properties sorted: XML puts them in the official order."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return value


def test_there_are_hl7s_727_examples():
    assert len(example_paths()) == 727
    assert len(package_paths()) == 5306


@pytest.mark.parametrize("index", SLICES)
def test_json_comes_back_byte_for_byte(index):
    for path in part(index):
        data = path.read_bytes()
        assert to_json(parse_json(data)) == compact(data), path.name


@pytest.mark.parametrize("index", SLICES)
def test_json_comes_back_from_xml_digit_for_digit(index):
    for path in part(index):
        resource = parse_json(path.read_bytes())
        expected = to_json(ordered(resource))
        assert to_json(ordered(parse_xml(to_xml(resource)))) == expected, path.name


@pytest.mark.parametrize("index", SLICES)
def test_pretty_forms_hold_the_same(index):
    for path in small_examples()[index :: len(SLICES)]:
        resource = parse_json(path.read_bytes())
        assert parse_json(to_pretty_json(resource)) == resource, path.name
        assert parse_xml(to_xml(resource, pretty=True)) == resource, path.name


@pytest.mark.parametrize("index", SLICES)
def test_xml_comes_back_from_json_byte_for_byte(index):
    for path in small_examples()[index :: len(SLICES)]:
        xml = to_xml(parse_json(path.read_bytes()))
        assert to_xml(parse_json(to_json(parse_xml(xml)))) == xml, path.name
