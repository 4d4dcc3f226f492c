"""A store with a week of a slow version, and what its pages say, for tests."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

from causal_otel.collector.matching import span_duration
from causal_otel.collector.store.writer import Writer
from tests.collector.spans import request
from tests.collector.web.slow_version import ROUTE, week

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

__all__ = ["Week", "link", "stored", "table", "text", "tiles"]


class Week:
    """The requests of :mod:`.slow_version`, and the spans of one operation of theirs.

    Args:
        now: when the week ends.
        operation: the operation.
    """

    def __init__(self, now: int, operation: str = ROUTE) -> None:
        self.now = now
        self.messages = list(week(now))
        self.spans = [
            (span, _version(group))
            for message in self.messages
            for group in message.resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
            if span.name == operation
        ]

    def durations(self, wanted: Callable[[Span, str], bool] = lambda *_: True) -> list[int]:
        """How long its spans took that are wanted, by span and version; ascending."""
        return sorted(span_duration(span) for span, version in self.spans if wanted(span, version))


def _version(group: object) -> str:
    attributes = group.resource.attributes  # type: ignore[attr-defined]
    return next((pair.value.string_value for pair in attributes if pair.key == "service.version"), "")


def stored(directory: Path, messages: Iterable[TracesData]) -> Path:
    """A store with those messages."""
    writer = Writer(directory)
    writer.start()
    try:
        writer.put(request(*messages)).result(60)
    finally:
        writer.close(30)
    return directory


def text(html: str) -> str:
    """What can be read of a piece of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()


def table(html: str, mark: str) -> list[list[str]]:
    """The cells of the rows of the first table after ``mark``."""
    body = html.partition(mark)[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [text(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in body.split("<tr")[1:]
    ]


def tiles(html: str) -> dict[str, str]:
    """The figures at the top."""
    found = re.findall(r"<dt>([^<]+)</dt><dd[^>]*>(.*?)</dd>", html)
    return {name: text(said) for name, said in found}


def link(html: str, says: str) -> str:
    """The address of the first link that says this."""
    found = re.search(rf'<a [^>]*?href="([^"]+)"[^>]*>(?:<[^>]+>|\s)*{re.escape(says)}', html)
    assert found, says
    return unescape(found[1])
