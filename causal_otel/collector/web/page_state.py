"""What the trace page shows, and of which trace, as its address says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from causal_otel.causality.critical_path import Until

__all__ = ["PageState", "parse_trace_id"]

_TRACE_ID = re.compile(r"(?:.*/trace/)?([0-9a-f]{32}|[0-9a-f]{16})(?:[?#.].*)?", re.IGNORECASE)
_OPEN_LIMIT = 20
_IDS_LIMIT = 5000
_FIND_LIMIT = 200
_CRITICAL: dict[str, Until] = {"answer": "answer", "end": "end"}


def parse_trace_id(text: str) -> bytes | None:
    """A trace's id, or the address of its page, as 16 bytes; None if it is neither. Shorter ids have leading zeros."""
    match = _TRACE_ID.fullmatch(text.strip())
    parsed = bytes.fromhex(match[1].zfill(32)) if match else b""
    return parsed if any(parsed) else None


@dataclass(frozen=True, slots=True)
class PageState:
    """The state of the trace page.

    Attributes:
        open: the spans whose details are shown, as hexadecimal ids; the last is the one to look at.
        collapsed: the spans collapsed, or ``all``, followed by those that are not with a minus before them.
        critical: whether the critical path is marked: ``answer``, ``end``, which is what it leads to, or empty.
        find: the text to find.
        logs: ``off`` if log records are not shown, else empty.
    """

    open: tuple[str, ...] = ()
    collapsed: tuple[str, ...] = ()
    critical: Until | Literal[""] = ""
    find: str = ""
    logs: Literal["off", ""] = ""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> PageState:
        """Read the parameters of an address; what makes no sense is left out."""
        return cls(
            open=_ids(parameters.get("span", ""))[-_OPEN_LIMIT:],
            collapsed=_ids(parameters.get("collapsed", ""))[:_IDS_LIMIT],
            critical=_CRITICAL.get(parameters.get("critical", ""), ""),
            find=parameters.get("find", "").strip()[:_FIND_LIMIT],
            logs="off" if parameters.get("logs") == "off" else "",
        )

    def fields(self) -> Iterator[tuple[str, str]]:
        """The parameters that say it, those that are needed."""
        if self.find:
            yield "find", self.find
        if self.critical:
            yield "critical", self.critical
        if self.logs:
            yield "logs", self.logs
        if self.collapsed:
            yield "collapsed", ",".join(self.collapsed)
        if self.open:
            yield "span", ",".join(self.open)

    def address(self, path: str) -> str:
        """Where ``path`` shows this state; the last open span is scrolled to."""
        query = urlencode(list(self.fields()), safe=",")
        return path + (f"?{query}" if query else "") + (f"#s-{self.open[-1]}" if self.open else "")

    def leading_to(self, until: Until) -> PageState:
        """This, with the critical path that leads there."""
        return replace(self, critical=until)

    def opened(self, span_id: str) -> PageState:
        """This, with the details of one more span."""
        return replace(self, open=(*(each for each in self.open if each != span_id), span_id)[-_OPEN_LIMIT:])

    def closed(self, span_id: str) -> PageState:
        """This, without the details of a span."""
        return replace(self, open=tuple(each for each in self.open if each != span_id))

    def collapsed_among(self, parents: Collection[str]) -> set[str]:
        """Which of ``parents``, the spans with others below them, are collapsed."""
        if "all" in self.collapsed:
            return set(parents).difference(each.removeprefix("-") for each in self.collapsed)
        return set(parents).intersection(self.collapsed)

    def toggled(self, what: str, parents: Collection[str]) -> PageState:
        """This, with the span ``what`` collapsed if it is not, and else expanded; or ``all`` collapsed, or ``none``."""
        if what == "all":
            return replace(self, collapsed=("all",))
        if what == "none":
            return replace(self, collapsed=())
        collapsed = self.collapsed_among(parents) ^ {what}.intersection(parents)
        if 2 * len(collapsed) <= len(parents):
            return replace(self, collapsed=tuple(each for each in parents if each in collapsed))
        return replace(self, collapsed=("all", *(f"-{each}" for each in parents if each not in collapsed)))


def _ids(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in text.lower().split(",") if each))
