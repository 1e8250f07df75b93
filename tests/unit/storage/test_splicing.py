"""Documents put together of pieces are, byte for byte, what the driver makes of the whole."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.storage.documents import CODEC
from fhir_server.storage.splicing import build_pattern, to_document, to_stored

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_strings = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=12)
_values = st.one_of(st.text(st.characters(codec="utf-8")), st.binary(max_size=50), st.booleans(), _strings)


def documents(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), _values)


@given(
    own=documents("_id", "body", "100%"),
    fixed=documents("type", "method", "%b"),
    moments=st.lists(st.integers(-(2**40), 2**41), min_size=2, max_size=2),
    lists=st.lists(st.tuples(_strings, _strings), min_size=2, max_size=2),
)
def test_a_document_of_pieces_is_the_whole_byte_for_byte(
    own: dict[str, Any], fixed: dict[str, Any], moments: list[int], lists: list[tuple[list[str], list[str]]]
) -> None:
    pattern = build_pattern(fixed, ("from", "to%"), {"t": lists[0][0], "%w": lists[1][0]})
    spliced = to_document(own, pattern.fill(moments, [added for _, added in lists]))
    (one, two), end = (added for _, added in lists), len(lists[1][1]) // 2
    longer = pattern.with_items({"t": one}).with_items({"%w": two[:end]})
    assert to_document(own, longer.fill(moments, [(), two[end:]])).raw == spliced.raw
    times = [_EPOCH + timedelta(milliseconds=one) for one in moments]
    arrays = {name: [*first, *added] for name, (first, added) in zip(("t", "%w"), lists, strict=True)}
    whole = {**own, **fixed, **dict(zip(("from", "to%"), times, strict=True)), **arrays}
    assert spliced.raw == bson.encode(whole, codec_options=CODEC)
    assert spliced["to%"] == times[1]


def test_what_is_ready_to_be_stored_is_stored_as_it_is() -> None:
    ready = to_document({"_id": "a"})
    assert to_stored(ready) is ready
    assert to_stored({"_id": "a"}).raw == ready.raw == RawBSONDocument(bson.encode({"_id": "a"})).raw
