"""``near``: locations within a distance, ``latitude|longitude[|distance[|unit]]``.

A position is indexed as a point in space, in whole centimetres from the centre of a sphere of the Earth's mean radius.
The distance along the surface becomes that of the straight line below it, so that a query is three ranges and one sum
of squares: whole numbers, the same in MongoDB and here, with neither date line nor poles to take care of.
Without a unit the distance is in kilometres; without a distance, ``DEFAULT_KILOMETRES``. Units are UCUM's of length.
Spec: http://hl7.org/fhir/R4/location.html#positional
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fhir_server.errors import NotSupported, Text, Value
from fhir_server.fhir import ucum
from fhir_server.search.ast import NearTo, Node
from fhir_server.search.entries import Entries, Extract
from fhir_server.search.param_types.number import parse_number
from fhir_server.search.param_types.presence import present_key
from fhir_server.search.parameters import SearchParameter
from fhir_server.search.values import split_escaped, unescape

RADIUS = 637_100_880
"""Centimetres: the mean radius of the Earth."""
DEFAULT_KILOMETRES = "50"

_FORM = Text(
    "it is written latitude|longitude|distance|unit",
    "il s’écrit latitude|longitude|distance|unité",
)
_RANGE = Text(
    "a latitude is within ±90, a longitude within ±180, a distance is not negative",
    "une latitude est comprise entre ±90, une longitude entre ±180, une distance n’est pas négative",
)
_LENGTH = Text("not a UCUM unit of length", "pas une unité de longueur UCUM")


def build_extractor(parameter: SearchParameter) -> Extract:
    """Return the function that adds the point of a position."""
    present = present_key(parameter)

    def extract(value: Any, kind: str, entries: Entries) -> None:
        latitude, longitude = value.get("latitude"), value.get("longitude")
        if latitude is not None and longitude is not None:
            entries.near = _point(float(latitude), float(longitude))
            entries.t[present] = None

    return extract


def parse(parameter: SearchParameter, modifier: str | None, value: str) -> Node:
    """Return the condition of one value. Raises ``Value``, or ``NotSupported`` for a modifier."""
    if modifier is not None:
        raise NotSupported(Text(f"the modifier :{modifier}", f"le modificateur :{modifier}"))
    parts = [unescape(part) for part in split_escaped(value, "|")]
    if not 2 <= len(parts) <= 4:
        raise Value(_FORM)
    latitude, longitude, distance, unit = (*parts, *("" for _ in range(4 - len(parts))))
    length = ucum.find_unit(unit or "km")
    if length is None or length.key != "m":
        raise Value(_LENGTH)
    metres = length.to_base(parse_number(distance or DEFAULT_KILOMETRES))
    north, east = parse_number(latitude), parse_number(longitude)
    if abs(north) > 90 or abs(east) > 180 or metres < 0:
        raise Value(_RANGE)
    return NearTo(parameter.resource_type, *_point(float(north), float(east)), _chord(metres))


def to_filter(leaf: NearTo) -> dict[str, Any]:
    """Return the leaf as a MongoDB filter: a cube, for the index, and the sphere in it."""
    centre = {"nx": leaf.x, "ny": leaf.y, "nz": leaf.z}
    cube = {name: {"$gte": at - leaf.chord, "$lte": at + leaf.chord} for name, at in centre.items()}
    apart = [{"$subtract": [f"${name}", at]} for name, at in centre.items()]
    squares = {"$add": [{"$multiply": [one, one]} for one in apart]}
    return {"type": leaf.resource_type, **cube, "$expr": {"$lte": [squares, leaf.chord * leaf.chord]}}


def matches(leaf: NearTo, document: Mapping[str, Any]) -> bool:
    """Say whether the index document's point is in the sphere."""
    if document.get("type") != leaf.resource_type or "nx" not in document:
        return False
    x, y, z = document["nx"] - leaf.x, document["ny"] - leaf.y, document["nz"] - leaf.z
    return bool(x * x + y * y + z * z <= leaf.chord * leaf.chord)


def _point(latitude: float, longitude: float) -> tuple[int, int, int]:
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError("no place on Earth")
    north, east = math.radians(latitude), math.radians(longitude)
    across = RADIUS * math.cos(north)
    return round(across * math.cos(east)), round(across * math.sin(east)), round(RADIUS * math.sin(north))


def _chord(metres: Decimal) -> int:
    """Return the straight line, in centimetres, between two points this far apart on the surface."""
    angle = min(float(metres) * 100 / RADIUS, math.pi)
    return round(2 * RADIUS * math.sin(angle / 2)) + 1
