"""Attack 16: a value set or code system that the caller may not see answers as one that is not there."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.context import RequestContext
from fhir_server.errors import FhirError
from fhir_server.search.ast import Nothing
from tests.access.test_include_leaks import NOT_SECRET, context, names, search, write

__all__ = ["context", "search"]

SYSTEM = "http://example.org/codes"
CONCEPTS = [{"code": "above", "concept": [{"code": "x"}]}]


def prepare(ctx: RequestContext, *, secret: bool) -> None:
    concept = {"coding": [{"system": SYSTEM, "code": "x"}]}
    write(ctx, "Condition", "c", code=concept, subject={"display": "x"})
    include = [{"system": SYSTEM, "concept": [{"code": "x"}]}]
    found = {"url": "http://example.org/vs", "status": "active", "compose": {"include": include}}
    write(ctx, "ValueSet", "vs", secret=secret, **found)
    content = {"url": SYSTEM, "status": "active", "content": "complete", "concept": CONCEPTS}
    write(ctx, "CodeSystem", "cs", secret=secret, **content)


@pytest.mark.parametrize(
    "query",
    ["code:in=http://example.org/vs", "code:in=ValueSet/vs", f"code:below={SYSTEM}|above", "code:not-in=ValueSet/vs"],
)
@pytest.mark.parametrize("secret", [True, False])
def test_hidden_terminology_is_as_if_absent(
    context: RequestContext, search: Callable[..., dict[str, Any]], query: str, secret: bool
) -> None:
    def refusal(policy: dict[str, Any], asked: str) -> str:
        with pytest.raises(FhirError) as caught:
            search(f"Condition?{asked}", policy)
        return str(caught.value)

    prepare(context, secret=secret)
    hiding = (
        {"ValueSet": NOT_SECRET, "CodeSystem": NOT_SECRET}
        if secret
        else {"ValueSet": Nothing(), "CodeSystem": Nothing()}
    )
    absent = query.replace("/vs", "/none").replace("codes|", "none|")
    assert refusal(hiding, query) == refusal({}, absent)
    found = names(search(f"Condition?{query}", {}), "match")
    assert found == ([] if "not-in" in query else ["Condition/c"])
