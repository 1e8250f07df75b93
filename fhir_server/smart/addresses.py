"""Where a request comes from: the network address of its caller, and the subscriber whom attempts are counted by."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_FORWARDED_FOR = re.compile(r'for\s*=\s*"?\[?([0-9A-Fa-f.:]+)\]?', re.IGNORECASE)


def client_address(environ: Mapping[str, Any], proxies: tuple[str, ...]) -> str:
    """Return the caller's network address, empty if it is not known.

    A forwarded address is believed from a configured proxy alone.
    """
    address = environ.get("REMOTE_ADDR", "")
    if _is_within(address, proxies):
        forwarded = _FORWARDED_FOR.findall(environ.get("HTTP_FORWARDED", "").rpartition(",")[2])
        listed = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        address = (forwarded or [listed or address])[0]
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def to_subscriber(address: str) -> str:
    """Return what attempts from an address are counted by: of IPv6 the /64 that one subscriber has."""
    if ":" in address:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return address or "unknown"


def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in networks)
