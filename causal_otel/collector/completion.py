"""What may stand at a place of a query line: keys, or the values of the key before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.expressions import written_key, written_value
from causal_otel.collector.query_terms import FIELD_NAMES, ROOTS, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from causal_otel.collector.vocabulary import Vocabulary

__all__ = ["Completion", "Offer", "complete"]

_MOST = 20
_LONGEST = 4000
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"=!<>~()]+', re.DOTALL)
_OPERATOR = re.compile(r"[=!<>~]+")
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"?\*?|[^\s"()]*', re.DOTALL)
_DURATIONS = ("10ms", "100ms", "500ms", "1s", "5s", "10s")
_SERVICE = re.compile(r'(?:^|[\s(])service=("(?:[^"\\]|\\.)*"|[^\s"()]+)')
_WORDS = {
    "service": "who does it",
    "name": "what is done",
    "duration": "how long it took",
    "error": "it has failed",
    "status": "error, ok or unset",
    "kind": "server, client, …",
    "system": "what it talks to",
    "root": "true: it has no parent",
    "log:": "words of a log record",
}
"""What a condition can begin with besides tags, and what that is about."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that may stand there.

    Attributes:
        text: what is written.
        note: what is told of it.
    """

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand in place of a part of a line.

    Attributes:
        begin: the part's, in characters of the line.
        end: its end.
        offers: what may, the likeliest first.
    """

    begin: int
    end: int
    offers: tuple[Offer, ...] = ()


def complete(line: str, at: int, vocabulary: Vocabulary, *, service: str = "") -> Completion:
    """What may stand at a place of a line.

    Args:
        line: as far as it is typed; it need not be readable yet.
        at: the place, in characters.
        vocabulary: what there is.
        service: whose operations are offered if the line names no service; empty: of all.
    """
    at = min(max(at, 0), len(line))
    if len(line) > _LONGEST:
        return Completion(at, at)
    key, begin, end = _place(line, at)
    typed = line[begin:at].strip('"*').casefold()
    if key is None:
        return Completion(begin, end, _first(_keys(vocabulary), typed))
    named = _SERVICE.search(line[:begin] + line[end:])
    service = _plain(named[1]) if named else service
    values = [Offer(f"{written_value(value)} ", note) for value, note in _values(key, vocabulary, service)]
    return Completion(begin, end, _first(values, typed))


def _place(line: str, at: int) -> tuple[str | None, int, int]:
    """The key whose value is at a place, None for a key, and the part of the line that is there."""
    position = 0
    while position < at:
        if line[position].isspace() or line[position] in "()!-":
            position += 1
            continue
        match = _KEY.match(line, position)
        if match is None:
            position += 1
            continue
        if at <= match.end():
            return None, position, match.end()
        operator = _OPERATOR.match(line, match.end())
        position = match.end()
        if operator is None:
            continue
        value = _VALUE.match(line, operator.end())
        assert value is not None  # it matches nothing, too
        if operator.end() <= at <= value.end():
            return _plain(match[0]), operator.end(), value.end()
        position = value.end()
    return None, at, at


def _plain(written: str) -> str:
    return re.sub(r"\\(.)", r"\1", written.strip('"'), flags=re.DOTALL) if written.startswith('"') else written


def _keys(vocabulary: Vocabulary) -> Iterator[Offer]:
    for word, note in _WORDS.items():
        yield Offer(word + {"error": " ", "log:": "", "duration": ">"}.get(word, "="), note)
    for key, values in vocabulary.values.items():
        if key not in _WORDS:
            yield Offer(f"{written_key(key)}=", values[0] if len(values) == 1 else f"{values[0]}, …")


def _values(key: str, vocabulary: Vocabulary, service: str) -> Iterable[tuple[str, str]]:
    field = FIELD_NAMES.get(key)
    if field in ("service", "operation", "system"):
        spans: dict[str, int] = {}
        for each in vocabulary.series:
            if field == "service" or not service or each.service == service:
                name = getattr(each, field)
                spans[name] = spans.get(name, 0) + each.spans
        return [(name, _spans(spans[name])) for name in sorted(spans, key=lambda name: (-spans[name], name)) if name]
    told = {"kind": KINDS, "status": STATUSES, "duration": _DURATIONS, "root": ROOTS}.get(field or "")
    if told is None and key == "error":
        told = ("true", "false")
    return [(value, "") for value in (vocabulary.values.get(key, ()) if told is None else told)]


def _spans(count: int) -> str:
    return f"{count:,} span{'' if count == 1 else 's'}".replace(",", "\u202f")


def _first(offers: Iterable[Offer], typed: str) -> tuple[Offer, ...]:
    """Those that begin with what is typed, then those that have it in them."""
    beginning: list[Offer] = []
    having: list[Offer] = []
    for offer in offers:
        text = offer.text.casefold()
        if text.removeprefix('"').startswith(typed):
            beginning.append(offer)
            if len(beginning) == _MOST:
                break
        elif typed in text and len(having) < _MOST:
            having.append(offer)
    return tuple((beginning + having)[:_MOST])
