"""What is told on every page: that spans are refused, or a clock is wrong."""

from __future__ import annotations

import threading
from collections import Counter

from causal_otel.collector.troubles import Trouble, Troubles


class Collector:
    """One that can be in trouble."""

    def __init__(self) -> None:
        self.reason = ""
        self.counts: Counter[str] = Counter()
        self.now = 1_000_000.0
        self.asked = 0
        self.troubles = Troubles(self.not_ready, lambda: Counter(self.counts), clock=lambda: self.now)

    def not_ready(self) -> str:
        self.asked += 1
        return self.reason

    def texts(self) -> list[str]:
        return [each.text for each in self.troubles()]


def test_nothing_is_told_while_all_is_well() -> None:
    """Counters of what is no trouble are nobody's business."""
    collector = Collector()
    collector.counts.update(spans=100, requests=10)
    assert collector.troubles() == []


def test_what_was_counted_is_told_for_an_hour() -> None:
    """With how many there were since when; afterwards it is left to the status page."""
    collector = Collector()
    collector.now += 120
    assert collector.troubles() == []
    collector.counts.update(rejected=1, future=1200)
    assert collector.troubles() == [
        Trouble("warn", "1 span was refused: its ids are not valid", 1_000_000.0),
        Trouble("warn", "A clock is wrong: 1,200 spans say that they start over an hour from now", 1_000_000.0),
    ]
    for _ in range(61):
        collector.now += 60
        collector.troubles()
    assert collector.troubles() == []
    collector.counts.update(refused=2)
    (told,) = collector.troubles()
    assert (told.level, told.text) == ("error", "2 requests were refused: the disk did not take them")
    assert told.since is not None
    assert collector.now - 3700 <= told.since <= collector.now


def test_what_happened_while_nobody_looked_is_told() -> None:
    """However long ago that was, with since when; an hour after it was seen no more."""
    collector = Collector()
    collector.counts.update(expired=3)
    collector.now += 5 * 86400
    assert [each.since for each in collector.troubles()] == [1_000_000.0]
    collector.now += 3601
    assert collector.troubles() == []


def test_that_spans_cannot_be_kept_is_told_until_they_can() -> None:
    """As long as it is so; while it is not, the disk is not asked for each page."""
    collector = Collector()
    for _ in range(50):
        assert collector.troubles() == []
    assert collector.asked <= 2
    collector.troubles._asked_at = float("-inf")
    collector.reason = "the disk is full"
    assert collector.texts() == ["Spans cannot be kept now: the disk is full"]
    collector.reason = ""
    assert collector.texts() == []


def test_a_disk_that_does_not_answer_keeps_one_page_waiting() -> None:
    """Others are told what was known before."""
    collector = Collector()
    asked, answer = threading.Event(), threading.Event()

    def never() -> str:
        asked.set()
        answer.wait(60)
        return ""

    troubles = Troubles(never, dict)
    waiting = threading.Thread(target=troubles)
    waiting.start()
    assert asked.wait(60)
    assert troubles() == []
    answer.set()
    waiting.join(60)
    assert collector.asked == 0
