"""Baggage at the border: to which hosts it may go, and how much of what comes in is read.

Baggage is what an application tells its own services. The context's propagator would send it with every request, to
third parties as well, and would log what it cannot read.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["INTERNAL", "BaggageBorder", "is_among"]

INTERNAL = "internal"
"""Stands for hosts that are no part of the public Internet."""

_MAX_BYTES, _MAX_ENTRIES, _MAX_ENTRY = 8192, 180, 4096
"""W3C Baggage, and the limits of the API's propagator, which logs a warning for what is beyond."""

_INTERNAL_ENDINGS = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
_NAME = r"[ \t]*+[!#$%&'*+.^_`|~0-9A-Za-z-]++[ \t]*+"
_TEXT = r"[ \t]*+[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*+[ \t]*+"
_ENTRY = re.compile(rf"{_NAME}={_TEXT}(?:;{_NAME}(?:={_TEXT})?)*")


class BaggageBorder(NamedTuple):
    """What is let through.

    Args:
        hosts: where baggage may go: names, ``*.example.com`` for all names that end so, ``*`` for every host, and
            ``internal`` for loopback, private addresses, names without a dot and those of local domains.
        max_bytes: how long a header that comes in may be to be read at all.
    """

    hosts: tuple[str, ...] = (INTERNAL,)
    max_bytes: int = _MAX_BYTES

    def outgoing(self, where: Context, host: str) -> Context:
        """``where``, without its baggage if that may not go to ``host``."""
        from opentelemetry import baggage

        if not baggage.get_all(where) or is_among(self.hosts, host):
            return where
        return baggage.clear(where)

    def admit(self, headers: dict[str, str]) -> None:
        """Leave in ``headers`` only as much of the baggage as may be read."""
        baggage = headers.pop("baggage", None)
        if baggage is not None and (read := self.incoming(baggage)) is not None:
            headers["baggage"] = read

    def incoming(self, header: str) -> str | None:
        """What is read of a header; None: nothing. Malformed entries are left out: the propagator would log each."""
        if len(header) > self.max_bytes:
            return None
        entries = [entry for entry in header.split(",") if len(entry) <= _MAX_ENTRY and _ENTRY.fullmatch(entry)]
        return ",".join(entries[:_MAX_ENTRIES]) or None


@functools.lru_cache(256)
def is_among(hosts: tuple[str, ...], host: str) -> bool:
    """Whether ``host`` is one of ``hosts``, which are written as those of :class:`BaggageBorder` are."""
    name = host.lower().rstrip(".")
    for allowed in map(str.lower, hosts):
        if allowed in ("*", name) or (allowed.startswith("*.") and name.endswith(allowed[1:])):
            return True
        if allowed == INTERNAL and _is_internal(name):
            return True
    return False


def _is_internal(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name.strip("[]")).is_global
    except ValueError:
        return "." not in name or name.endswith(_INTERNAL_ENDINGS)
