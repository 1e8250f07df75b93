"""Resources that name somebody: by reference or by identifier, in whatever form the identifier was written."""

from collections.abc import Sequence

from fhir_server.access.caller import Caller
from fhir_server.access.facts import caller_keys
from fhir_server.access.identities import spellings, split_identifier
from fhir_server.search.ast import Node, PointsTo, TokenIn
from fhir_server.search.building import build_or
from fhir_server.search.param_types.token import coded_key


def naming(caller: Caller, parameters: Sequence[str]) -> Node:
    """Return the tree of what names the caller or their structure.

    ``parameters`` are the reference parameters (``Consent.actor``) whose logical references count.
    """
    written = [
        spelling
        for identifier in (*caller.identifiers, *caller.organization_identifiers)
        if "|" in identifier
        for spelling in spellings(identifier)
    ]
    tokens = tuple(coded_key(f"{key}:identifier", *split_identifier(one)) for key in parameters for one in written)
    references = PointsTo(tuple(key for key in caller_keys(caller) if "|" not in key))
    return build_or([references, TokenIn(tokens)]) if tokens else references
