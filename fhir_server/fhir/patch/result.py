"""What all patches share: how one is refused, and what its outcome may not have changed.

A patch whose document cannot be understood is refused with 400, one that cannot be carried out on this resource with
422 (RFC 5789 §2.2). Spec: http://hl7.org/fhir/R4/http.html#patch
"""

from typing import Any

from fhir_server.errors import Invalid, Processing, Text, TooCostly
from fhir_server.fhir.json import MAX_DEPTH

MAX_OPERATIONS = 1_000
"""More operations than this in one patch are refused: replace the resource instead."""
MAX_NODES = 1_000_000
"""As many values may a patch insert and leave behind; copying a copy of a copy would otherwise fill the memory."""

_TOO_LARGE = Text("The patch would make the resource too large", "Le correctif rendrait la ressource trop volumineuse")
_SERVERS_OWN = ("versionId", "lastUpdated")


def malformed(en: str, fr: str, where: str | None = None) -> Invalid:
    """Return the error of a patch document that breaks its own grammar."""
    return Invalid(Text(en, fr), expression=where)


def unprocessable(en: str, fr: str, where: str | None = None) -> Processing:
    """Return the error of an operation that cannot be carried out on this resource."""
    return Processing(Text(en, fr), expression=where)


def check_count(operations: int) -> None:
    """Raise ``TooCostly`` for more operations than one patch may hold."""
    if operations > MAX_OPERATIONS:
        raise TooCostly(
            Text(
                f"A patch holds at most {MAX_OPERATIONS} operations",
                f"Un correctif contient au plus {MAX_OPERATIONS} opérations",
            )
        )


def count_values(value: Any) -> int:
    """Return how many values a JSON value is made of; raises ``TooCostly`` past ``MAX_NODES`` or ``MAX_DEPTH``."""
    count = 0
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        check_growth(count)
        level = [each for container in level for each in _members(container)]
        if not level:
            return count
    raise TooCostly(_TOO_LARGE)


def check_growth(values: int) -> None:
    """Raise ``TooCostly`` for more values than a patch may insert."""
    if values > MAX_NODES:
        raise TooCostly(_TOO_LARGE)


def copied(value: Any) -> Any:
    """Return a copy that shares no dict and no list with the value."""
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def finished(before: dict[str, Any], after: Any) -> dict[str, Any]:
    """Return the outcome without the empty arrays and objects that removals leave and that FHIR JSON does not allow.

    ``meta.versionId`` and ``meta.lastUpdated`` are the server's and stay as they were; raises ``Processing`` when
    ``resourceType`` or ``id`` has changed.
    """
    if not isinstance(after, dict):
        raise unprocessable("The outcome is not a resource", "Le résultat n’est pas une ressource")
    for name in ("resourceType", "id"):
        if before.get(name) != after.get(name):
            raise unprocessable(f"A patch must not change {name}", f"Un correctif ne doit pas modifier {name}", name)
    count_values(after)
    result: dict[str, Any] = without_empty(after)
    return _with_own_meta(before, result)


def without_empty(value: Any, siblings: bool = False) -> Any:
    """Return the value without empty arrays and objects; in arrays of primitive ``siblings`` they become null."""
    if isinstance(value, dict):
        kept = {name: without_empty(each, name[:1] == "_") for name, each in value.items()}
        return {name: each for name, each in kept.items() if each not in ({}, [])}
    if isinstance(value, list):
        items = [without_empty(each) for each in value]
        if not siblings:
            return [each for each in items if each not in ({}, [])]
        items = [None if each in ({}, []) else each for each in items]
        return items if any(each is not None for each in items) else []
    return value


def _members(container: Any) -> Any:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()


def _with_own_meta(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    old, new = before.get("meta"), after.get("meta")
    own = {name: old[name] for name in _SERVERS_OWN if name in old} if isinstance(old, dict) else {}
    if new is None and not own:
        return after
    if new is not None and not isinstance(new, dict):
        return after  # not a Meta: the validation says so
    meta = own | {name: each for name, each in (new or {}).items() if name not in _SERVERS_OWN}
    return {name: each for name, each in after.items() if name != "meta"} | ({"meta": meta} if meta else {})
