"""The functions that FHIR adds: http://hl7.org/fhir/R4/fhirpath.html#functions."""

from collections.abc import Mapping

from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.context import Collection, Context, Evaluate
from fhir_server.fhir.fhirpath.functions.function import Function
from fhir_server.fhir.fhirpath.functions.narrative import is_safe_narrative
from fhir_server.fhir.fhirpath.nodes import Node, resource_type_of, select
from fhir_server.fhir.fhirpath.references import contained_resource, id_of_reference, type_of_reference
from fhir_server.fhir.fhirpath.system import FALSE, TRUE, collection_of, single, single_text, system_value

_BASE_PROFILE = "http://hl7.org/fhir/StructureDefinition/"


def extension(context: Context, items: Collection, url: Evaluate) -> Collection:
    """``extension(url)``: the extensions with that url."""
    wanted = single_text(context, url(context))
    out: Collection = []
    for item in items:
        found: Collection = []
        select(item, "extension", found)
        context.spend(1 + len(found))
        out += [each for each in found if type(each.value) is dict and each.value.get("url") == wanted]
    return out


def has_extension(context: Context, items: Collection, url: Evaluate) -> Collection:
    """``hasExtension(url)``, which R4's search parameters use without defining it."""
    return [TRUE] if extension(context, items, url) else [FALSE]


def has_value(context: Context, items: Collection) -> Collection:
    """``hasValue()``: whether the input is one primitive with a value, not only extensions."""
    if len(items) != 1:
        return [FALSE]
    return collection_of(_primitive(items[0]) and items[0].value is not None)


def get_value(context: Context, items: Collection) -> Collection:
    """``getValue()``: the System value of one primitive."""
    if len(items) != 1 or not _primitive(items[0]):
        return []
    return collection_of(system_value(items[0]))


def resolve(context: Context, items: Collection) -> Collection:
    """``resolve()``: what each reference points to.

    Contained resources are found; others come from the resolver. Without a resolver a reference that names its type
    gives a resource of which only type and id are known, so that ``resolve() is Patient`` needs no look-up.
    """
    out: Collection = []
    for item in items:
        context.spend(1)
        found = _resolved(context, item)
        if found is not None:
            out.append(found)
    return out


def resolves_to(context: Context, item: Node) -> str | None:
    """Return the type that a reference resolves to: by its text when that says it, else through the resolver."""
    root = context.root_resource()
    name = type_of_reference(item.value, None if root is None else root.value)
    if name is not None or context.services.resolver is None:
        return name
    found = _resolved(context, item)
    return None if found is None else found.type


def member_of(context: Context, items: Collection, value_set: Evaluate) -> Collection:
    """``memberOf(valueset)``; empty for a value set that the terminology service does not know."""
    item = single(context, items)
    url = single_text(context, value_set(context))
    if item is None or url is None:
        return []
    if context.services.member_of is None:
        raise context.fault("memberOf needs a terminology service", "memberOf requiert un service de terminologie")
    return collection_of(context.services.member_of(item.value, item.type, url))


def conforms_to(context: Context, items: Collection, profile: Evaluate) -> Collection:
    """``conformsTo(structure)``; R4's own types are known without a validator."""
    item = single(context, items)
    url = single_text(context, profile(context))
    if item is None or url is None:
        return []
    name = url.removeprefix(_BASE_PROFILE)
    if name != url and definitions.has_structure(name):
        return collection_of(definitions.is_subtype(item.type, name))
    check = context.services.conforms_to
    answer = None if check is None else check(item.value, url)
    if answer is None:
        raise context.fault("conformsTo names an unknown profile", "conformsTo nomme un profil inconnu")
    return collection_of(answer)


def html_checks(context: Context, items: Collection) -> Collection:
    """``htmlChecks()``: whether a narrative has only the elements and attributes that FHIR allows."""
    text = single_text(context, items)
    if text is None:
        return []
    context.spend(1 + (len(text) >> 4))
    return collection_of(is_safe_narrative(text))


def _resolved(context: Context, item: Node) -> Node | None:
    text = item.value.get("reference") if type(item.value) is dict else item.value
    root = context.root_resource()
    if isinstance(text, str) and text.startswith("#"):
        found = None if root is None else contained_resource(text[1:], root.value)
        return None if found is None else Node(found, resource_type_of(found), None, root, ("contained", None))
    if context.services.resolver is not None:
        resource = context.services.resolver(text) if isinstance(text, str) else None
        return None if resource is None else Node(resource, resource_type_of(resource))
    name = type_of_reference(item.value, None)
    if name is None:
        return None
    stub = {"resourceType": name}
    identifier = id_of_reference(text) if isinstance(text, str) else None
    return Node(stub if identifier is None else {**stub, "id": identifier}, name)


def _primitive(item: Node) -> bool:
    return item.type.startswith("System.") or definitions.is_primitive(item.type)


FUNCTIONS: Mapping[str, Function] = {
    "extension": Function(extension, 1),
    "hasExtension": Function(has_extension, 1),
    "hasValue": Function(has_value),
    "getValue": Function(get_value),
    "resolve": Function(resolve),
    "memberOf": Function(member_of, 1),
    "conformsTo": Function(conforms_to, 1),
    "htmlChecks": Function(html_checks),
}
