"""The selectors of XML Patch: RFC 5261's subset of XPath, and nothing that could run long.

A location path of child steps with predicates ``[3]``, ``[last()]``, ``[position()=3]``, ``[@a='x']``, ``[f:b/@a='x']``
or ``[.='x']``, ending in an element, an attribute or ``text()``. No ``//``, no axes, no other functions.
Spec: RFC 5261 §4.1
"""

import re

from lxml import etree

from fhir_server.fhir.patch.result import malformed

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
XML = "http://www.w3.org/XML/1998/namespace"

MAX_LENGTH = 2_000

_DEFAULT = "_default"

_NAME = r"(?:[A-Za-z_][\w.-]*:)?(?:[A-Za-z_][\w.-]*|\*)"
_PLACE = rf"@?{_NAME}(?:/@?{_NAME})*|\."
_LITERAL = r"'[^']*'|\"[^\"]*\""
_PREDICATE = (
    rf"\[\s*(?:[1-9]\d{{0,5}}|last\(\)|position\(\)\s*=\s*[1-9]\d{{0,5}}|(?:{_PLACE})\s*=\s*(?:{_LITERAL}))\s*\]"
)
_STEP = rf"(?:@?{_NAME}|text\(\))(?:{_PREDICATE})*"
_PATH = re.compile(rf"/?{_STEP}(?:/{_STEP})*", re.ASCII)
_COMPARISON = re.compile(r"=\s*['\"]")
_TOKEN = re.compile(
    rf"(?P<literal>{_LITERAL})|(?P<function>[a-z]+\(\))|(?P<attribute>@{_NAME})|(?P<name>{_NAME})", re.ASCII
)


def count_comparisons(selector: str) -> int:
    """Return how many predicates of a selector look into every place that the step before them has found."""
    return len(_COMPARISON.findall(selector))


def to_xpath(selector: str, operation: etree._Element, where: str) -> tuple[str, dict[str, str]]:
    """Return the XPath 1.0 expression of a selector, from the document's root, and its namespaces.

    Raises ``Invalid`` for what is outside of the subset and for prefixes that nobody declared.
    """
    text = selector.strip()
    if len(text) > MAX_LENGTH or not _PATH.fullmatch(text):
        raise malformed("sel is not a selector of RFC 5261", "sel n’est pas un sélecteur de la RFC 5261", where)
    namespaces = {"f": FHIR, "h": XHTML, "xml": XML}
    namespaces.update((prefix, uri) for prefix, uri in operation.nsmap.items() if prefix is not None)
    namespaces[_DEFAULT] = operation.nsmap.get(None) or FHIR
    undeclared: list[str] = []

    def qualified(match: re.Match[str]) -> str:
        token = match[0]
        if not (match["name"] or match["attribute"]):
            return token
        prefix, colon, _ = token.removeprefix("@").rpartition(":")
        if colon and prefix not in namespaces:
            undeclared.append(prefix)
        return token if colon or token == "*" or match["attribute"] else f"{_DEFAULT}:{token}"

    path = _TOKEN.sub(qualified, text.removeprefix("/"))
    if undeclared:
        raise malformed("sel uses a prefix that is not declared", "sel emploie un préfixe non déclaré", where)
    return f"/{path}", namespaces
