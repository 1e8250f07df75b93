"""The XHTML of a narrative: well-formed, and nothing in it that could act in a browser.

Narratives end up as ``innerHTML`` of portals and apps. What is accepted here must therefore be harmless also to an HTML
parser, which reads some well-formed XML differently (CDATA sections, comments that begin with ``>``).
Spec: http://hl7.org/fhir/R4/narrative.html, invariant txt-1. That there is some content (txt-2) is not checked here.
"""

import re

from lxml import etree

from fhir_server.errors import Text

XHTML = "http://www.w3.org/1999/xhtml"

_ELEMENTS = (
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img"
    " li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
)
_ATTRIBUTES = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset"
    " cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap"
    " rel rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace width"
)
_ALLOWED_ELEMENTS = frozenset(f"{{{XHTML}}}{name}" for name in _ELEMENTS.split())
_ALLOWED_ATTRIBUTES = frozenset(_ATTRIBUTES.split()) | {"{http://www.w3.org/XML/1998/namespace}lang"}
_DIV = f"{{{XHTML}}}div"

_PLAIN = re.compile(rf'<div xmlns="{XHTML}">[^<>&\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]+</div>').fullmatch
# A declaration (DTD, entity, CDATA section) or a processing instruction; a comment is the only other "<!".
_DECLARATION = re.compile(r"<!(?!--)|<\?").search
# Browsers drop controls and white space inside a scheme before they look at it; HL7's own narratives have some.
_IGNORED_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]+")
_SCHEME = re.compile(r"([^/?#:]*):").match
_LINK_SCHEMES = frozenset({"http", "https", "mailto", "tel", "ftp", "urn", "cid"})
_IMAGE_SCHEMES = frozenset({"http", "https", "cid"})
_IMAGE_DATA = re.compile(r"data:image/[a-z0-9.+-]+[;,]", re.IGNORECASE).match
_URLS = ("href", "src", "cite", "longdesc")
_ACTIVE_STYLE = re.compile(
    r"[\\<>{}]|/\*|@|expression|javascript|vbscript|behavior|binding|url\(['\"]?(?!data:image/)(?:[^()'\"/:]*:|//)",
    re.IGNORECASE,
).search

_NOT_WELL_FORMED = Text(
    "The narrative is not well-formed XHTML.",
    "Le texte narratif n’est pas du XHTML bien formé.",
)
_NO_DIV = Text(
    f"The narrative must be one div element in the namespace {XHTML}.",
    f"Le texte narratif doit être un seul élément div dans l’espace de noms {XHTML}.",
)
_FORBIDDEN_DECLARATION = Text(
    "A narrative must not hold a document type, entities, CDATA sections or processing instructions.",
    "Un texte narratif ne doit avoir ni type de document, ni entités, ni sections CDATA, ni instructions.",
)
_FORBIDDEN_ELEMENT = Text(
    "The narrative has an element that FHIR does not allow (basic formatting, tables, lists, links and images only).",
    "Le texte narratif a un élément que FHIR ne permet pas (seulement mise en forme, tableaux, listes, liens, images).",
)
_FORBIDDEN_ATTRIBUTE = Text(
    "The narrative has an attribute that FHIR does not allow, such as an event handler.",
    "Le texte narratif a un attribut que FHIR ne permet pas, tel qu’un gestionnaire d’événement.",
)
_FORBIDDEN_URL = Text(
    "The narrative has a link or an image whose URL scheme is not allowed.",
    "Le texte narratif a un lien ou une image dont le schéma d’URL n’est pas permis.",
)
_FORBIDDEN_STYLE = Text(
    "The narrative has a style that is active or loads something.",
    "Le texte narratif a un style actif ou qui charge quelque chose.",
)
_FORBIDDEN_COMMENT = Text(
    "The narrative has a comment that browsers would not read as one.",
    "Le texte narratif a un commentaire que les navigateurs ne liraient pas comme tel.",
)


def check_narrative(xhtml: str) -> Text | None:
    """Return what is wrong with a ``Narrative.div``, or None when it may be stored and shown."""
    if _PLAIN(xhtml):
        return None
    if _DECLARATION(xhtml):
        return _FORBIDDEN_DECLARATION
    try:
        root = etree.fromstring(xhtml, _parser())
    except (etree.XMLSyntaxError, ValueError):
        return _NOT_WELL_FORMED
    if root.tag != _DIV or root.tail or root.getprevious() is not None or root.getnext() is not None:
        return _NO_DIV
    return _check_tree(root)


def _parser() -> etree.XMLParser:
    # Not shared: a parser serves one thread at a time, and making one costs 5 µs.
    return etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)


def _check_tree(root: etree._Element) -> Text | None:
    for node in root.iter():
        if not isinstance(node.tag, str):
            if not _is_comment_to_html(node):
                return _FORBIDDEN_COMMENT
        elif node.tag not in _ALLOWED_ELEMENTS:
            return _FORBIDDEN_ELEMENT
        elif node.attrib and (text := _check_attributes(node)):
            return text
    return None


def _is_comment_to_html(node: etree._Element) -> bool:
    text = node.text or ""
    is_comment = isinstance(node, etree._Comment)
    return is_comment and not text.startswith((">", "->")) and "--!" not in text and "<!--" not in text


def _check_attributes(node: etree._Element) -> Text | None:
    for name, value in node.attrib.items():
        if name not in _ALLOWED_ATTRIBUTES:
            return _FORBIDDEN_ATTRIBUTE
        if name == "style" and _ACTIVE_STYLE(_IGNORED_IN_URL.sub("", str(value))):
            return _FORBIDDEN_STYLE
        if name in _URLS and not _is_harmless(str(value), is_image=name == "src"):
            return _FORBIDDEN_URL
    return None


def _is_harmless(url: str, *, is_image: bool) -> bool:
    url = _IGNORED_IN_URL.sub("", url)
    scheme = _SCHEME(url)
    if scheme is None:
        return True
    if is_image:
        return scheme[1].lower() in _IMAGE_SCHEMES or _IMAGE_DATA(url) is not None
    return scheme[1].lower() in _LINK_SCHEMES
