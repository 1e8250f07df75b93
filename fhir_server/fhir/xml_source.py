"""An XML text as a light tree of nodes: every danger of XML is refused here, nothing of FHIR's types is known yet.

Expat reads it rather than lxml because it tells byte offsets: a narrative is cut out of the source as it stands.
Spec: http://hl7.org/fhir/R4/xml.html, http://hl7.org/fhir/R4/security.html#narrative
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from lxml import etree

from fhir_server.errors import Structure, Text
from fhir_server.fhir.json import MAX_DEPTH

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
MAX_NARRATIVE_DEPTH = 256

_DECLARATION = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]*)[\"']")
_START_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>")
_BOM = b"\xef\xbb\xbf"

_ENCODING = Text("XML is taken in UTF-8 only.", "Le XML n’est accepté qu’en UTF-8.")
_UTF8 = Text("The content is not valid UTF-8.", "Le contenu n’est pas de l’UTF-8 valide.")
_MALFORMED = Text("The XML is malformed.", "Le XML est mal formé.")
_DTD = Text(
    "Document type declarations and entities are refused.",
    "Les déclarations de type de document et les entités sont refusées.",
)
_INSTRUCTION = Text("Processing instructions are refused.", "Les instructions de traitement sont refusées.")
_LEANING = Text(
    "A narrative uses namespaces in a way that cannot be resolved.",
    "Un texte narratif emploie des espaces de noms d’une façon qui ne peut pas être résolue.",
)
_TOO_DEEP = Text(
    f"Elements are nested more than {MAX_DEPTH} levels deep.",
    f"Des éléments sont imbriqués sur plus de {MAX_DEPTH} niveaux.",
)


@dataclass(slots=True)
class Node:
    """An element: its namespace and name, attributes (``"namespace name"`` or ``name``), children and place.

    ``narrative`` is the source of an XHTML ``div``, whose children are not in the tree. ``has_text`` tells that
    something other than white space stands between the children.
    """

    namespace: str
    name: str
    attributes: dict[str, str]
    line: int
    column: int
    children: list["Node"] = field(default_factory=list)
    has_text: bool = False
    narrative: str | None = None

    @property
    def position(self) -> str:
        """The place of the element's start, for ``diagnostics``."""
        return f"line {self.line}, column {self.column}"


def parse_source(data: bytes) -> Node:
    """Return the root element; raises ``errors.Structure`` for what is malformed, dangerous or too deep."""
    data = data.removeprefix(_BOM)
    declaration = _DECLARATION.match(data)
    # A NUL is how UTF-16 and UTF-32 show themselves, with or without a mark; expat would follow them.
    if b"\0" in data or (declaration and declaration[1].lower() not in (b"utf-8", b"us-ascii")):
        raise Structure(_ENCODING)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Structure(_UTF8, diagnostics=f"byte {error.start}") from None
    return _Reader(data).read()


class _Reader:
    """Expat's handlers for one document."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._root: Node | None = None
        self._open: list[Node] = []
        self._narrative_depth = 0
        self._narrative_start = 0
        self._prefixes: list[tuple[str, str]] = []
        self._parser = create_parser()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.EndNamespaceDeclHandler = self._undeclare

    def read(self) -> Node:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise Structure(_MALFORMED, diagnostics=_describe(error)) from None
        assert self._root is not None  # expat accepts no document without a root
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._narrative_depth:
            self._narrative_depth += 1
            if self._narrative_depth > MAX_NARRATIVE_DEPTH:
                raise Structure(_TOO_DEEP)
            return
        if len(self._open) >= MAX_DEPTH:
            raise Structure(_TOO_DEEP)
        namespace, _, name = tag.rpartition(" ")
        node = Node(namespace, name, attributes, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)
        if namespace == XHTML and name == "div":
            self._narrative_depth = 1
            self._narrative_start = self._parser.CurrentByteIndex

    def _end(self, _: str) -> None:
        if self._narrative_depth > 1:
            self._narrative_depth -= 1
            return
        node = self._open.pop()
        if self._narrative_depth:
            self._narrative_depth = 0
            node.narrative = self._narrative(self._parser.CurrentByteIndex)

    def _narrative(self, end: int) -> str:
        """Return the source of the div that ends with the tag at ``end``, or at ``end`` if it is ``<div/>``."""
        start_tag = _START_TAG.match(self._data, self._narrative_start)
        assert start_tag is not None  # expat has just read it
        end = start_tag.end() if start_tag[0].endswith(b"/>") else self._data.index(b">", end) + 1
        source = self._data[self._narrative_start : end]
        if self._is_self_contained(source):
            return source.decode("utf-8")
        try:
            return _without_prefixes(source, dict(self._prefixes))
        except (etree.LxmlError, ValueError):
            raise Structure(_LEANING) from None

    @staticmethod
    def _is_self_contained(source: bytes) -> bool:
        if not source.startswith(b"<div"):
            return False
        names: list[str] = []
        parser = create_parser()
        parser.StartElementHandler = lambda tag, _: names.append(tag)
        try:
            parser.Parse(source, True)
        except expat.ExpatError:
            return False
        return names[0] == f"{XHTML} div"

    def _text(self, text: str) -> None:
        if not self._narrative_depth and not text.isspace():
            self._open[-1].has_text = True

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._prefixes.append((prefix or "", uri or ""))

    def _undeclare(self, _: str | None) -> None:
        self._prefixes.pop()


def create_parser() -> expat.XMLParserType:
    """Return an expat parser with namespaces that refuses DTDs, entities and processing instructions."""
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    return parser


def _refuse_doctype(*_: object) -> NoReturn:
    raise Structure(_DTD)


def _refuse_instruction(*_: object) -> NoReturn:
    raise Structure(_INSTRUCTION)


def _describe(error: expat.ExpatError) -> str:
    return f"line {error.lineno}, column {error.offset + 1}: {expat.ErrorString(error.code)}"


def _without_prefixes(source: bytes, prefixes: dict[str, str]) -> str:
    """Return a narrative that leans on namespaces declared around it as XHTML that stands alone."""
    wrapper = etree.Element("wrapper", nsmap={prefix or None: uri for prefix, uri in prefixes.items() if uri})
    opening = etree.tostring(wrapper).removesuffix(b"/>") + b">"
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    div = etree.fromstring(opening + source + b"</wrapper>", parser)[0]
    return etree.tostring(_copy(div), encoding="unicode")


def _copy(element: etree._Element) -> etree._Element:
    copy = etree.Element(element.tag, nsmap={None: XHTML})
    copy.attrib.update(dict(element.attrib))
    copy.text = element.text
    for child in element:
        if isinstance(child.tag, str):
            copy.append(_copy(child))
            copy[-1].tail = child.tail
        elif len(copy):
            copy[-1].tail = (copy[-1].tail or "") + (child.tail or "")
        else:
            copy.text = (copy.text or "") + (child.tail or "")
    return copy
