"""Trees and filters as anybody may read them: structure, parameter names and operators, never a value.

Spec: none; what ``__explain=true`` shows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from numbers import Number
from typing import Any

_NAME = re.compile(r"[A-Za-z]+(?:\.[A-Za-z_][A-Za-z0-9_-]*)?", re.ASCII)
_NAMED = ("resource_type", "names", "key", "keys", "references", "types", "compartment", "field")
_INNER = ("children", "child", "tree", "link")
_MOST_NAMES = 5


def describe_tree(tree: Any, depth: int = 0) -> Iterator[str]:
    """Yield a line for each node, indented by its depth: its kind and the parameters and types that it asks."""
    names = list(dict.fromkeys(_names(tree)))
    shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    yield "  " * depth + type(tree).__name__ + (f" {shown}" if shown else "")
    for each in fields(tree) if is_dataclass(tree) else ():
        value = getattr(tree, each.name)
        if each.name in _INNER and is_dataclass(value):
            yield from describe_tree(value, depth + 1)
        elif each.name in ("children", "targets"):
            for child in value:
                inner = child[1] if isinstance(child, tuple) and len(child) == 2 else child
                if is_dataclass(inner):
                    yield from describe_tree(inner, depth + 1)


def describe_filter(value: Any) -> Any:
    """Return a filter with each value replaced by its kind; lists of values by how many they are."""
    if isinstance(value, Mapping):
        return {name: describe_filter(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if any(isinstance(one, Mapping) for one in value):
            return [describe_filter(one) for one in value]
        return f"‹{len(value)} values›"
    return _kind(value)


def _kind(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Number):
        return "‹number›"
    return "‹date›" if isinstance(value, datetime) else "‹text›"


def _names(node: Any) -> Iterator[str]:
    """Yield ``Observation.code`` of ``Observation.code|http://loinc.org|718-7`` and the like."""
    for each in fields(node) if is_dataclass(node) else ():
        if each.name not in _NAMED:
            continue
        value = getattr(node, each.name)
        for one in (value,) if isinstance(value, str) else value:
            match = _NAME.match(one) if isinstance(one, str) else None
            if match is not None:
                yield match[0]
