"""XML Patch on a resource's XML form.

Selectors without a prefix take the patch's default namespace, and FHIR's when it has none; ``f`` and ``h`` stand for
FHIR and XHTML unless declared otherwise. Spec: RFC 5261, http://hl7.org/fhir/R4/xml.html
"""

from copy import deepcopy
from typing import Any

from lxml import etree

from fhir_server.errors import Invalid, Issue, NotSupported, Processing, Structure, Text, TooCostly
from fhir_server.fhir.patch.result import check_count, finished, malformed, unprocessable
from fhir_server.fhir.patch.xml_selector import FHIR, count_comparisons, to_xpath
from fhir_server.fhir.xml import parse_xml, to_xml

_OPERATIONS = ("add", "replace", "remove")
_BUDGET = 500_000_000
"""What the selectors of one patch may look at, in elements: some seconds of a core."""
_COMPARED = 10
"""As many elements are passed in the time in which one is compared."""
_POSITIONS = (None, "prepend", "before", "after")


def apply_xml_patch(resource: dict[str, Any], patch: bytes) -> dict[str, Any]:
    """Return the patched copy of a resource; ``patch`` is an RFC 5261 document.

    Raises ``Structure`` or ``Invalid`` for a document that is not an XML Patch, ``NotSupported`` for patches of
    namespaces, ``TooCostly`` for selectors that would look at too much, ``Processing`` for the first operation whose
    selector does not lead to exactly one place, when the outcome is not FHIR XML, and when ``id`` or ``resourceType``
    changes.
    """
    diff = _parse_patch(patch)
    document = etree.fromstring(to_xml(resource), _parser(trusted=True))
    _check_cost(document, diff)
    for index, operation in enumerate(diff):
        _apply(document, operation, f"operation[{index}]")
    try:
        after = parse_xml(etree.tostring(document, encoding="UTF-8"))
    except Structure as error:
        # Lines and columns would be those of a text that the caller never saw.
        raise Processing(Issue(each.code, each.text, expression=each.expression) for each in error.issues) from None
    return finished(resource, after)


def _parser(*, trusted: bool) -> etree.XMLParser:
    """Return a parser that expands nothing; what a caller sends keeps libxml2's bounds on depth and length."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        huge_tree=trusted,
    )


def _parse_patch(patch: bytes) -> etree._Element:
    # A document type could only declare entities, and what they expand to has no bounds.
    if b"<!DOCTYPE" in patch or b"<!ENTITY" in patch:
        raise Structure(Text("A document type is not allowed", "Une déclaration de type de document n’est pas permise"))
    try:
        diff = etree.fromstring(patch, _parser(trusted=False))
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise Structure(
            Text("The patch is not well-formed XML", "Le correctif n’est pas du XML bien formé"),
            diagnostics=f"line {line}, column {column}",
        ) from None
    if etree.QName(diff).localname != "diff":
        raise malformed("The root element of an XML Patch is diff", "L’élément racine d’un XML Patch est diff")
    check_count(len(diff))
    _check_operations(diff)
    return diff


def _check_cost(document: etree._Element, diff: etree._Element) -> None:
    """Raise ``TooCostly`` when the selectors, each of which is short, would look at too much all together."""
    elements = sum(1 for root in (document, diff) for _ in root.iter())
    looks = sum(1 + _COMPARED * count_comparisons(operation.get("sel", "")) for operation in diff)
    if elements * looks > _BUDGET:
        raise TooCostly(
            Text(
                "The selectors of the patch would look at too much of this resource",
                "Les sélecteurs du correctif auraient trop à parcourir dans cette ressource",
            )
        )


def _check_operations(diff: etree._Element) -> None:
    issues: list[Issue] = []
    for index, operation in enumerate(diff):
        try:
            _check_operation(operation, f"operation[{index}]")
        except Invalid as error:
            issues.extend(error.issues)
    if issues:
        raise Invalid(issues)


def _check_operation(operation: etree._Element, where: str) -> None:
    name = etree.QName(operation).localname
    if name not in _OPERATIONS:
        listed = ", ".join(_OPERATIONS)
        raise malformed(f"An operation is one of {listed}", f"Une opération est l’une de {listed}", where)
    if operation.get("type", "").startswith("namespace::"):
        raise NotSupported(
            Text("Namespaces cannot be patched", "Les espaces de noms ne peuvent être modifiés"), expression=where
        )
    if operation.get("pos") not in _POSITIONS:
        raise malformed("pos must be prepend, before or after", "pos doit être l’un de prepend, before ou after", where)
    to_xpath(operation.get("sel", ""), operation, where)


def _apply(document: etree._Element, operation: etree._Element, where: str) -> None:
    target = _select(document, operation, where)
    match etree.QName(operation).localname:
        case "add":
            _add(target, operation, where)
        case "replace":
            _replace(document, target, operation, where)
        case _:
            _remove(document, target, where)


def _select(document: etree._Element, operation: etree._Element, where: str) -> Any:
    """Return the one element, attribute or text that ``sel`` leads to."""
    xpath, namespaces = to_xpath(operation.get("sel", ""), operation, where)
    found = document.getroottree().xpath(xpath, namespaces=namespaces)
    if not isinstance(found, list) or len(found) != 1:
        count = len(found) if isinstance(found, list) else 0
        raise unprocessable(
            f"The selector must lead to one place, not to {count}",
            f"Le sélecteur doit mener à un seul endroit, et non à {count}",
            where,
        )
    return found[0]


def _add(target: Any, operation: etree._Element, where: str) -> None:
    if not isinstance(target, etree._Element):
        raise unprocessable("Content is added to elements only", "On n’ajoute qu’à des éléments", where)
    kind, position = operation.get("type"), operation.get("pos")
    if kind is not None:
        _add_attribute(target, kind, operation, where)
    elif position == "prepend":
        rest, target.text = target.text, None
        _insert(target, 0, operation, rest)
    elif position is None:
        _insert(target, len(target), operation, None)
    else:
        _add_beside(target, position, operation, where)


def _add_beside(target: etree._Element, position: str, operation: etree._Element, where: str) -> None:
    parent = target.getparent()
    if parent is None:
        raise unprocessable("Nothing stands beside the root", "Rien ne se place à côté de la racine", where)
    if position == "before":
        _insert(parent, parent.index(target), operation, None)
    else:
        rest, target.tail = target.tail, None
        _insert(parent, parent.index(target) + 1, operation, rest)


def _add_attribute(target: etree._Element, kind: str, operation: etree._Element, where: str) -> None:
    name = kind.removeprefix("@")
    if not kind.startswith("@") or not name.isidentifier():
        raise unprocessable("type must be @ and a name", "type doit être @ suivi d’un nom", where)
    if name in target.attrib:
        raise unprocessable("The attribute exists already", "L’attribut existe déjà", where)
    target.set(name, operation.text or "")


def _insert(parent: etree._Element, index: int, operation: etree._Element, rest: str | None) -> None:
    """Insert the operation's texts and elements from ``index`` on; ``rest`` is the text that comes behind them."""
    _append_text(parent, index, operation.text)
    for offset, child in enumerate(operation):
        parent.insert(index + offset, _fhir_element(child))
    _append_text(parent, index + len(operation), rest)


def _append_text(parent: etree._Element, index: int, text: str | None) -> None:
    """Put a text before the child at ``index``; lxml keeps it with the element before."""
    if not text:
        return
    if index == 0:
        parent.text = (parent.text or "") + text
    else:
        before = parent[index - 1]
        before.tail = (before.tail or "") + text


def _replace(document: etree._Element, target: Any, operation: etree._Element, where: str) -> None:
    if not isinstance(target, etree._Element):
        if len(operation):
            raise unprocessable("Text is replaced by text", "Un texte est remplacé par un texte", where)
        _set_text(target, operation.text or "")
        return
    if len(operation) != 1 or (operation.text or "").strip() or (operation[0].tail or "").strip():
        raise unprocessable("An element is replaced by one element", "Un élément est remplacé par un élément", where)
    parent = target.getparent()
    if parent is None or target is document:
        raise unprocessable("The resource itself cannot be replaced", "La ressource ne peut être remplacée", where)
    copy = _fhir_element(operation[0])
    copy.tail = target.tail
    parent.replace(target, copy)


def _remove(document: etree._Element, target: Any, where: str) -> None:
    if not isinstance(target, etree._Element):
        _set_text(target, None)
        return
    parent = target.getparent()
    if parent is None or target is document:
        raise unprocessable("The resource itself cannot be removed", "La ressource ne peut être retirée", where)
    tail = target.tail
    index = parent.index(target)
    target.tail = None
    parent.remove(target)
    _append_text(parent, index, tail)


def _set_text(target: Any, text: str | None) -> None:
    """Give an attribute or a text another content, or remove it; ``target`` is lxml's string that knows its place."""
    owner = target.getparent()
    if target.is_attribute:
        if text is None:
            del owner.attrib[target.attrname]
        else:
            owner.set(target.attrname, text)
    elif target.is_tail:
        owner.tail = text
    else:
        owner.text = text


def _fhir_element(element: etree._Element) -> etree._Element:
    """Return a copy with its tail; elements of no namespace become FHIR's, as in selectors."""
    copy = deepcopy(element)
    for each in copy.iter():
        name = etree.QName(each)
        if not name.namespace:
            each.tag = f"{{{FHIR}}}{name.localname}"
    return copy
