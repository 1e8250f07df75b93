"""References and links between resources: what they mean, where they stand, and how a transaction rewrites them.

A Bundle's entries are a world of their own (a document may be signed): nothing here looks into them.
Spec: http://hl7.org/fhir/R4/references.html, http://hl7.org/fhir/R4/http.html#trules
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape, unescape
from typing import Any, Literal

from fhir_server.errors import Text, Value
from fhir_server.fhir import definitions

Kind = Literal["reference", "uri", "canonical", "narrative"]

_ID = r"[A-Za-z0-9\-.]{1,64}"
_RELATIVE = re.compile(rf"([A-Z][A-Za-z]+)/({_ID})(?:/_history/({_ID}))?")
_REST_URL = re.compile(rf"https?://[^\s?#]+/([A-Z][A-Za-z]+)/({_ID})(?:/_history/({_ID}))?")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?(\S.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_LINK = re.compile(r"(<(?:a|img)\s[^<>]*?\b(?:href|src)\s*=\s*)(\"[^\"]*\"|'[^']*')")
_HISTORY = "/_history/"

# "reference" is a string to the definitions, but only within the type Reference a link.
_KINDS: dict[str, Kind] = {
    "uri": "uri",
    "url": "uri",
    "oid": "uri",
    "uuid": "uri",
    "canonical": "canonical",
    "xhtml": "narrative",
}
_NOT_A_REFERENCE = Text("This is not a FHIR reference.", "Ceci n’est pas une référence FHIR.")

_Path = tuple[Any, ...]
"""A place as a linked list, ``(parent, name or index)``: cheap to make, seldom printed."""
_Place = tuple[dict[str, Any], str, Kind, _Path]


@dataclass(frozen=True, slots=True)
class LocalReference:
    """``Type/id`` on this server, perhaps one version of it."""

    type: str
    id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class AbsoluteReference:
    """A URL elsewhere; ``type``, ``id`` and ``version`` where it looks like a RESTful one."""

    url: str
    type: str | None = None
    id: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """``#id``: a contained resource, or the container itself when ``id`` is empty."""

    id: str


@dataclass(frozen=True, slots=True)
class Urn:
    """``urn:uuid:…`` or ``urn:oid:…``, resolved by the Bundle around it."""

    text: str


@dataclass(frozen=True, slots=True)
class Conditional:
    """``Type?query``: the one resource that the search finds."""

    type: str
    query: str


CONTENT = "@"
"""Begins an index entry for the content that a url leads to."""

AnyReference = LocalReference | AbsoluteReference | Fragment | Urn | Conditional


def parse_reference(text: str, base_url: str | None = None) -> AnyReference:
    """Return what ``Reference.reference`` points to; URLs below ``base_url`` are local. Raises ``errors.Value``."""
    if base_url is not None and text.startswith(base_url := base_url.rstrip("/") + "/"):
        local = _parse_relative(text.removeprefix(base_url))
        if local is not None:
            return local
    if text.startswith("#"):
        return Fragment(text[1:])
    if text.startswith("urn:"):
        return Urn(text)
    found = _parse_relative(text) or _parse_absolute(text)
    if found is None:
        raise Value(_NOT_A_REFERENCE)
    return found


def split_url(url: str) -> str | None:
    """Return ``Type/id`` of a RESTful absolute URL, without its version, or None."""
    match = _REST_URL.fullmatch(url)
    return f"{match[1]}/{match[2]}" if match and definitions.is_resource_type(match[1]) else None


def walk(resource: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, Kind, str]]:
    """Yield every link as (container, key, kind, FHIRPath); the text is ``container[key]``, for repeating uris a list.

    Kinds: ``reference`` (a Reference's literal), ``uri`` (uri, url, oid, uuid), ``canonical``, ``narrative`` (a div).
    """
    for container, key, kind, path in _places(resource, references_only=False):
        yield container, key, kind, _print(path)


def local_references(resource: Mapping[str, Any], base_url: str | None = None) -> list[tuple[LocalReference, str]]:
    """Return every Reference to ``Type/id`` on this server with its FHIRPath, those of contained resources too."""
    prefix = None if base_url is None else base_url.rstrip("/") + "/"
    found = []
    for container, key, _, path in _places(resource, references_only=True):
        text = container[key]
        if prefix is not None:
            text = text.removeprefix(prefix)
        local = _parse_relative(text)
        if isinstance(local, LocalReference):
            found.append((local, _print(path)))
    return found


def local_targets(resource: Mapping[str, Any], base_url: str | None = None) -> list[str]:
    """Return what ``local_references`` finds as ``Type/id``, each once, without its place, for the index.

    A Binary that a url (an attachment's) leads to is among them as ``@Binary/id``: no Reference, but who carries it.
    """
    prefix = None if base_url is None else base_url.rstrip("/") + "/"
    texts: dict[str, None] = {}
    _collect_texts(resource, _table(_type_of(resource)), texts)
    found: dict[str, None] = {}
    for text in texts:
        mark = CONTENT if text.startswith(CONTENT) else ""
        text = text.removeprefix(mark)
        local = _parse_relative(text if prefix is None else text.removeprefix(prefix))
        if isinstance(local, LocalReference) and (not mark or local.type == "Binary"):
            found[f"{mark}{local.type}/{local.id}" if mark else str(local)] = None
    return list(found)


def conditional_references(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the text of every ``Type?query`` reference, as written, with its FHIRPath."""
    return [
        (container[key], _print(path))
        for container, key, _, path in _places(resource, references_only=True)
        if "?" in container[key] and isinstance(_parse_relative(container[key]), Conditional)
    ]


def rewrite(
    resource: dict[str, Any], mapping: Mapping[str, str], versions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the resource with every link that ``mapping`` knows replaced; the same object when there is none.

    References, uris, urls, oids, uuids and the links of narratives are replaced, canonicals are not (trules). What
    stands after ``#`` is kept; a version-specific reference stays one, with the version that ``versions`` gives for
    the new reference or else its own. The argument is not changed; unchanged parts are shared with the result.
    """
    rewriter = _Rewriter(mapping, versions or {})
    return rewriter.members(resource, _table(_type_of(resource)))


def _parse_relative(text: str) -> LocalReference | Conditional | None:
    text = text.partition("#")[0] if "?" not in text else text
    match = _RELATIVE.fullmatch(text)
    if match is not None:
        return LocalReference(match[1], match[2], match[3]) if definitions.is_resource_type(match[1]) else None
    match = _CONDITIONAL.fullmatch(text)
    if match is not None and definitions.is_resource_type(match[1]):
        return Conditional(match[1], match[2])
    return None


def _parse_absolute(text: str) -> AbsoluteReference | None:
    match = _REST_URL.fullmatch(text.partition("#")[0])
    if match is not None and definitions.is_resource_type(match[1]):
        return AbsoluteReference(text, match[1], match[2], match[3])
    return AbsoluteReference(text) if _SCHEME.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class _Table:
    """Of one type: the properties that hold links, and those that lead to further types (their names)."""

    links: dict[str, Kind]
    children: dict[str, str]


@cache
def _table(type_name: str) -> _Table:
    links: dict[str, Kind] = {}
    children: dict[str, str] = {}
    if not definitions.has_structure(type_name):
        return _Table(links, children)
    for key, (_, code) in definitions.structure(type_name).properties.items():
        if type_name == "Reference" and key == "reference":
            links[key] = "reference"
        if not definitions.is_primitive(code):
            children[key] = code
            continue
        children[f"_{key}"] = "Element"
        if code in _KINDS:
            links[key] = _KINDS[code]
    if type_name == "Bundle":
        del children["entry"]
    return _Table(links, children)


def _type_of(resource: Mapping[str, Any]) -> str:
    name = resource.get("resourceType")
    return name if isinstance(name, str) else ""


def _places(resource: Mapping[str, Any], *, references_only: bool) -> list[_Place]:
    found: list[_Place] = []
    name = _type_of(resource)
    _collect(resource, _table(name), (None, name), found, references_only)
    return found


def _collect(value: Any, table: _Table, path: _Path, found: list[_Place], references_only: bool) -> None:
    links, children = table.links, table.children
    for key, member in value.items():
        code = children.get(key)
        if code is not None:
            here = (path, key)
            if type(member) is dict:
                _collect(member, _child_table(code, member), here, found, references_only)
            elif type(member) is list:
                for index, item in enumerate(member):
                    if type(item) is dict:
                        _collect(item, _child_table(code, item), (here, index), found, references_only)
        elif key in links:
            kind = links[key]
            if type(member) is str if kind == "reference" else not references_only and isinstance(member, str | list):
                found.append((value, key, kind, (path, key)))


def _collect_texts(value: Mapping[str, Any], table: _Table, found: dict[str, None]) -> None:
    """Add the text of every Reference; the hot path of a write."""
    children = table.children
    for key, member in value.items():
        kind = type(member)
        if kind is str:
            link = table.links.get(key)
            if link == "reference":
                found[member] = None
            elif link == "uri" and "Binary/" in member:
                found[CONTENT + member] = None
        elif kind is dict or kind is list:
            code = children.get(key)
            if code is None:
                continue
            for item in (member,) if kind is dict else member:
                if type(item) is dict:
                    _collect_texts(item, _child_table(code, item), found)


def _child_table(code: str, value: Mapping[str, Any]) -> _Table:
    return _table(_type_of(value) if code == "Resource" else code)


def _print(path: _Path) -> str:
    parent, step = path
    if parent is None:
        return str(step)
    if isinstance(step, int):
        return f"{_print(parent)}[{step}]"
    return f"{_print(parent)}.{step.removeprefix('_')}"


@dataclass(frozen=True, slots=True)
class _Rewriter:
    """Copies on write along the tables."""

    mapping: Mapping[str, str]
    versions: Mapping[str, str]

    def members(self, value: dict[str, Any], table: _Table) -> dict[str, Any]:
        """Return the object with its links replaced, itself when nothing is."""
        links, children = table.links, table.children
        result = value
        for key, member in value.items():
            code = children.get(key)
            if code is not None:
                if type(member) is dict:
                    new: Any = self.members(member, _child_table(code, member))
                elif type(member) is list:
                    new = self._items(member, code)
                else:
                    continue
            elif key in links:
                new = self._link(member, links[key])
            else:
                continue
            if new is not member:
                if result is value:
                    result = value.copy()
                result[key] = new
        return result

    def _items(self, items: list[Any], code: str) -> list[Any]:
        result = items
        for index, item in enumerate(items):
            if type(item) is dict:
                new = self.members(item, _child_table(code, item))
                if new is not item:
                    if result is items:
                        result = items.copy()
                    result[index] = new
        return result

    def _link(self, value: Any, kind: Kind) -> Any:
        if kind == "canonical":
            return value
        if kind != "narrative" and type(value) is str:
            return self.text(value, versioned=kind == "reference")
        if isinstance(value, list):
            new = [self._link(item, kind) for item in value]
            return new if new != value else value
        return self._narrative(value) if isinstance(value, str) else value

    def text(self, text: str, *, versioned: bool) -> str:
        """Return what a link is replaced by, or itself."""
        new = self.mapping.get(text)
        if new is not None:
            return new
        if "#" in text:
            head, _, fragment = text.partition("#")
            if head in self.mapping:
                return f"{self.mapping[head]}#{fragment}"
        if versioned and _HISTORY in text:
            head, _, version = text.partition(_HISTORY)
            new = self.mapping.get(head)
            if new is not None:
                return f"{new}{_HISTORY}{self.versions.get(new, version)}"
        return text

    def _narrative(self, div: str) -> str:
        if "href" not in div and "src" not in div:
            return div
        new = _LINK.sub(self._anchor, div)
        return new if new != div else div

    def _anchor(self, match: re.Match[str]) -> str:
        quoted = match[2]
        old = unescape(quoted[1:-1])
        new = self.text(old, versioned=True)
        return match[0] if new == old else f"{match[1]}{quoted[0]}{escape(new, quote=True)}{quoted[0]}"
