"""Type names in expressions, and whether an item is of that type.

An unqualified name means the FHIR type, else the System type of that name; both for ``Quantity``, which is in both.
Subtypes count, as N1 says: a ``code`` is a ``string``, an ``Age`` a ``Quantity``, a ``Patient`` a ``Resource``.
Spec: http://hl7.org/fhirpath/N1/#is-type-specifier, http://hl7.org/fhir/R4/fhirpath.html#types
"""

from collections.abc import Callable
from functools import lru_cache

from fhir_server.errors import Invalid, Text
from fhir_server.fhir import definitions
from fhir_server.fhir.fhirpath.ast import TypeName
from fhir_server.fhir.fhirpath.nodes import Node

SYSTEM_TYPES = frozenset(
    {"Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity", "SimpleTypeInfo"}
)
_SUPERTYPES = frozenset({"Any"})


def is_known(name: TypeName) -> bool:
    """Say whether there is a type of that name."""
    if name.namespace != "System" and definitions.has_structure(name.name):
        return True
    return name.namespace != "FHIR" and (name.name in SYSTEM_TYPES or name.name in _SUPERTYPES)


def check_known(name: TypeName) -> None:
    """Raise ``errors.Invalid`` for an unqualified or FHIR name that no type has."""
    if name.namespace != "System" and not is_known(name):
        raise Invalid(
            Text(
                "This FHIRPath expression names a type that R4 does not have.",
                "Cette expression FHIRPath nomme un type que R4 n’a pas.",
            )
        )


@lru_cache(maxsize=4096)
def is_of_type(type_code: str, name: TypeName) -> bool:
    """Say whether a type (as in ``Node.type``) is the named one or derives from it."""
    if type_code.startswith("System."):
        own = type_code.removeprefix("System.")
        return name.namespace != "FHIR" and name.name in (own, "Any")
    return name.namespace != "System" and definitions.is_subtype(type_code, name.name)


def type_test(name: TypeName) -> Callable[[Node], bool]:
    """Return the test of an item against a named type."""
    return lambda node: is_of_type(node.type, name)
