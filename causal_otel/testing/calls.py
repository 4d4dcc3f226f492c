"""What a test's spans are to its assertions: queries, calls of other services, and the operation that made them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.spans.stalls import is_stall
from causal_otel.causality.spans.targets import is_database
from causal_otel.names import CAUSAL_CODE_ORIGIN, DB_QUERY_TEXT, URL_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from causal_otel.causality.spans import CallSpan, CallT

__all__ = ["OUTSIDE", "Shape", "is_external", "is_query", "is_timed", "operation_above", "queries", "shape"]

OUTSIDE = "the test itself"
"""What makes calls that are below no span."""

_LOCKS = "causal_otel.locks"
_WORKS_FOR_OTHERS = frozenset({"server", "consumer"})
_PLACEHOLDER = re.compile(r"\$\d+|%\(\w+\)s|%s|(?<![:\w]):\w+|@\w+|\?")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_SPACE = re.compile(r"\s+")


class Shape(NamedTuple):
    """A call without what differs from one driver, and from one row, to the next.

    Attributes:
        system: what is called: ``postgresql``, ``http api.example.com``.
        name: the span's.
        text: the statement with ``?`` for every placeholder, in one line; or the template of the URL.
        origin: the line of code that has issued it; empty: it is not known.
    """

    system: str
    name: str
    text: str
    origin: str

    def __str__(self) -> str:
        text = self.text if self.text and self.text != self.name else self.name
        return f"{text}  from {self.origin}" if self.origin else text


def shape(span: CallSpan) -> Shape:
    """The shape of a call."""
    attributes = span.attributes
    text = _plain(str(attributes.get(DB_QUERY_TEXT) or attributes.get(URL_TEMPLATE) or ""))
    return Shape(span.system, span.name, text, str(attributes.get(CAUSAL_CODE_ORIGIN, "")))


@lru_cache(maxsize=512)
def _plain(text: str) -> str:
    """A statement without what differs from driver to driver. Tests repeat theirs."""
    return _LIST.sub("(?, ...)", _SPACE.sub(" ", _PLACEHOLDER.sub("?", text))).strip()


def is_query(span: CallSpan) -> bool:
    """Whether it is a statement or a command for a database."""
    return span.kind == "client" and is_database(span)


def is_external(span: CallSpan) -> bool:
    """Whether it calls another service: an HTTP request that no span here has answered, a message that is sent."""
    if span.kind == "client":
        return not is_database(span) and all(child.kind != "server" for child in span.children)
    return span.kind == "producer"


def is_timed(span: CallSpan) -> bool:
    """Whether it is there because something took long: it is so in one run, and not in the next."""
    return is_stall(span) or span.scope.name == _LOCKS


def queries(spans: Iterable[CallT]) -> Iterator[CallT]:
    """All queries among them."""
    return filter(is_query, spans)


def operation_above(span: CallT) -> CallT | None:
    """The request, the task or else the topmost span that a call was made for; None: it is itself the topmost."""
    above, top = span.parent, None
    while above is not None:
        if above.kind in _WORKS_FOR_OTHERS:
            return above
        above, top = above.parent, above
    return top
