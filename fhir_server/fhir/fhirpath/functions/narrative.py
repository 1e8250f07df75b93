"""What XHTML a narrative may have, for ``htmlChecks()``.

Spec: http://hl7.org/fhir/R4/narrative.html#xhtml (rules txt-1 and txt-2)
"""

from lxml import etree


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_XHTML = "{http://www.w3.org/1999/xhtml}"
_ELEMENTS = _words(
    """a abbr acronym address area b bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em
    h1 h2 h3 h4 h5 h6 hr i img ins kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr
    tt ul var"""
)
_ATTRIBUTES = _words(
    """title style class id lang dir accesskey tabindex span width height align valign char charoff abbr axis headers
    scope rowspan colspan border cellspacing cellpadding frame rules summary cite datetime type compact start value"""
) | {f"{{http://www.w3.org/XML/1998/namespace}}{name}" for name in ("lang", "space", "base")}
_OF_ELEMENT = {
    "a": _words("href name target rel rev charset hreflang shape coords"),
    "area": _words("shape coords href nohref alt"),
    "br": _words("clear"),
    "hr": _words("noshade size"),
    "img": _words("src alt longdesc usemap ismap name"),
    "map": _words("name"),
    "table": _words("bgcolor"),
    "td": _words("bgcolor nowrap"),
    "th": _words("bgcolor nowrap"),
    "tr": _words("bgcolor"),
}


def is_safe_narrative(text: str) -> bool:
    """Say whether a text is a well-formed XHTML div of allowed elements and attributes, with some content."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError:
        return False
    if root.tag != f"{_XHTML}div" or root.getroottree().docinfo.internalDTD is not None:
        return False
    return all(_is_allowed(element) for element in root.iter()) and _has_content(root)


def _is_allowed(element: etree._Element) -> bool:
    if not isinstance(element.tag, str):
        return isinstance(element, etree._Comment)
    name = element.tag.removeprefix(_XHTML)
    return name in _ELEMENTS and all(
        attribute in _ATTRIBUTES or attribute in _OF_ELEMENT.get(name, ()) for attribute in map(str, element.attrib)
    )


def _has_content(root: etree._Element) -> bool:
    return any(str(text).strip() for text in root.itertext()) or next(root.iter(f"{_XHTML}img"), None) is not None
