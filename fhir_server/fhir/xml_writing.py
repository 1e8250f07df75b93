"""From a resource to XML text, by the definitions, with everything named that they do not know.

Spec: http://hl7.org/fhir/R4/xml.html
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from html.entities import html5
from typing import Any
from xml.parsers import expat

from fhir_server.errors import Issue, Structure, Text
from fhir_server.fhir import definitions
from fhir_server.fhir.decimals import to_digits
from fhir_server.fhir.xml_source import FHIR, MAX_NARRATIVE_DEPTH, XHTML, create_parser

MAX_ISSUES = 100

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAMED_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*;)")
_XML_ENTITIES = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})
_ELEMENT_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
# White space other than blanks would become a blank when an attribute is read.
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)

_UNKNOWN_RESOURCE = Text("This is not a resource of FHIR R4.", "Ceci n’est pas une ressource de FHIR R4.")
_UNKNOWN_ELEMENT = Text("This element is not defined here.", "Cet élément n’est pas défini ici.")
_SHAPE = Text("The value does not have the shape of its type.", "La valeur n’a pas la forme de son type.")
_NARRATIVE = Text(
    "The narrative is not one well-formed XHTML div.",
    "Le texte narratif n’est pas un unique div XHTML bien formé.",
)
_CHARACTER = Text(
    "A text holds a character that XML cannot carry.",
    "Un texte contient un caractère que XML ne peut pas porter.",
)


@dataclass(frozen=True, slots=True)
class _Property:
    order: int
    type: str
    attribute: bool
    repeats: bool
    primitive: bool


@cache
def _table(name: str) -> dict[str, _Property]:
    structure = definitions.structure(name)
    order = {element.path: index for index, element in enumerate(structure.elements)}
    return {
        key: _Property(
            order=order[element.path],
            type=code,
            attribute=element.xml_attribute,
            repeats=element.max is None or element.max > 1,
            primitive=definitions.is_primitive(code),
        )
        for key, (element, code) in structure.properties.items()
    }


def write_resource(resource: dict[str, Any], pretty: bool) -> str:
    """Return the XML document of a resource; raises ``errors.Structure`` with every fault."""
    writer = _Writer(pretty)
    writer.resource(resource, "", 0)
    text = "".join(['<?xml version="1.0" encoding="UTF-8"?>', "\n" if pretty else "", *writer.parts])
    if not writer.issues and _FORBIDDEN.search(text):
        raise Structure(_CHARACTER)
    if writer.issues:
        raise Structure(writer.issues)
    return text


@dataclass(slots=True)
class _Writer:
    """The parts of the text written so far and the faults met."""

    pretty: bool
    parts: list[str] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def resource(self, value: Any, path: str, level: int) -> None:
        """Write a resource: the document's root, or what stands in ``contained``, ``entry``, ``parameter``."""
        name = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(name, str) or not definitions.is_resource_type(name):
            self._fault(_UNKNOWN_RESOURCE, path or "Resource")
            return
        tag = name if level else f'{name} xmlns="{FHIR}"'
        members = {key: member for key, member in value.items() if key != "resourceType"}
        self._complex(members, name, tag, path or name, level)

    def _complex(self, value: Any, type_name: str, tag: str, path: str, level: int) -> None:
        if not isinstance(value, dict):
            self._fault(_SHAPE, path)
            return
        table = _table(type_name)
        attributes, names = "", set()
        for key, member in value.items():
            found = table.get(key) or (table.get(key[1:]) if key[:1] == "_" else None)
            if found is None or (key not in table and not found.primitive):
                self._fault(
                    _UNKNOWN_ELEMENT, f"{path}.{key.removeprefix('_')}" if _ELEMENT_NAME.fullmatch(key) else path
                )
            elif not found.attribute:
                names.add(key if key in table else key[1:])
            elif key in table and isinstance(member, str):
                attributes += f' {key}="{member.translate(_ESCAPES)}"'
            else:
                self._fault(_SHAPE, f"{path}.{key.removeprefix('_')}")
        if not names:
            self._line(f"<{tag}{attributes}/>", level)
            return
        self._line(f"<{tag}{attributes}>", level)
        for name in sorted(names, key=lambda name: table[name].order):
            self._property(name, table[name], value.get(name), value.get(f"_{name}"), f"{path}.{name}", level + 1)
        self._line(f"</{tag.partition(' ')[0]}>", level)

    def _property(self, name: str, found: _Property, value: Any, extra: Any, path: str, level: int) -> None:
        if not found.repeats:
            self._item(name, found, value, extra, path, level)
            return
        values, extras = [] if value is None else value, [] if extra is None else extra
        if not isinstance(values, list) or not isinstance(extras, list):
            self._fault(_SHAPE, path)
            return
        for index in range(max(len(values), len(extras))):
            value = values[index] if index < len(values) else None
            extra = extras[index] if index < len(extras) else None
            self._item(name, found, value, extra, f"{path}[{index}]", level)

    def _item(self, name: str, found: _Property, value: Any, extra: Any, path: str, level: int) -> None:
        if found.type == "xhtml":
            self._narrative(value, path, level)
        elif found.primitive:
            self._primitive(name, value, extra, path, level)
        elif found.type == "Resource":
            self._line(f"<{name}>", level)
            self.resource(value, path, level + 1)
            self._line(f"</{name}>", level)
        else:
            self._complex(value, found.type, name, path, level)

    def _primitive(self, name: str, value: Any, extra: Any, path: str, level: int) -> None:
        text = _lexical(value)
        if value is not None and text is None:
            self._fault(_SHAPE, path)
            return
        tag = name if text is None else f'{name} value="{text.translate(_ESCAPES)}"'
        if extra is not None:
            # "id" is an attribute after "value" and extensions are children, as in any Element.
            self._complex(extra, "Element", tag, path, level)
        elif text is None:
            self._fault(_SHAPE, path)
        else:
            self._line(f"<{tag}/>", level)

    def _narrative(self, value: Any, path: str, level: int) -> None:
        source = find_narrative_source(value) if isinstance(value, str) else None
        if source is None:
            self._fault(_NARRATIVE, path)
        else:
            self._line(source, level)

    def _line(self, text: str, level: int) -> None:
        self.parts.append(f"{'  ' * level}{text}\n" if self.pretty else text)

    def _fault(self, text: Text, path: str) -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue("structure", text, expression=(path,)))


def find_narrative_source(div: str) -> str | None:
    """Return the div to write into XML, unchanged where it can be, or None when it is not one well-formed div.

    HTML's named entities, which XML does not know, are written as characters; a missing namespace is added.
    """
    for source in (div, _NAMED_ENTITY.sub(_entity, div)):
        names: list[str] = []
        if _is_well_formed(source, names):
            if names[0] == f"{XHTML} div" and source.startswith("<"):
                return source
            return source.replace("<div", f'<div xmlns="{XHTML}"', 1) if names[0] == "div" else None
    return None


def _is_well_formed(source: str, names: list[str]) -> bool:
    depth = 0

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        names.append(tag)
        if depth > MAX_NARRATIVE_DEPTH:
            raise Structure(_NARRATIVE)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = create_parser()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(source.encode("utf-8"), True)
    except (expat.ExpatError, Structure, UnicodeEncodeError):
        return False
    return not source.startswith("<?")


def _entity(match: re.Match[str]) -> str:
    return match[0] if match[1] in _XML_ENTITIES else html5.get(match[1], match[0])


def _lexical(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return to_digits(value)
    return None
