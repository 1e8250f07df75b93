"""The bound on orders that no index has: every match is looked at for each page."""

from fhir_server.errors import Issue, Text, TooCostly
from fhir_server.search.ast import Node
from fhir_server.search.compiler import to_filter
from fhir_server.search.parser import Search
from fhir_server.search.sorting import has_index
from fhir_server.storage.store import Store


def check_sortable(store: Store, search: Search, tree: Node, budget: int, collection: str) -> None:
    """Raise ``TooCostly`` when an order would have to be computed for more matches than ``budget``; +1 round trip.

    Only what the caller may see is counted: ``tree`` is narrowed already.
    """
    if has_index(search.sort) or store.count(to_filter(tree), budget + 1, collection) <= budget:
        return
    text = Text(
        f"_sort: more than {budget:,} resources match, and this order has no index; narrow the search, or sort by"
        " _lastUpdated, _id or the type's main date.",
        f"_sort : plus de {budget} ressources correspondent et cet ordre n’a pas d’index ; précisez la recherche, ou"
        " triez par _lastUpdated, _id ou la date principale du type.",
    )
    raise TooCostly([Issue("too-costly", text, expression=("http._sort",))])
