"""One line a minute and kind, however often something happens."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from causal_otel._internal import throttled_log
from causal_otel._internal.throttled_log import HOUR, ThrottledLog

Lines = Callable[[], list[str]]


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttled_log, "time", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, clock: Clock) -> Lines:
    """Gives the lines that were logged since it was asked last."""

    def take() -> list[str]:
        assert all((record.name, record.levelno) == ("causal_otel", logging.WARNING) for record in caplog.records)
        taken = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return taken

    return take


def test_once_a_minute(clock: Clock, lines: Lines) -> None:
    """What happens again within a minute is not logged; the next line tells how often that was."""
    log = ThrottledLog()
    for number in range(4):
        log.say("refused", "batch %d was refused", number)
        clock.now += 15
    assert lines() == ["causal_otel: batch 0 was refused"]
    log.say("refused", "batch %d was refused", 4)
    assert lines() == ["causal_otel: batch 4 was refused (the same 3 times more since this was last said)"]
    clock.now += 60
    log.say("refused", "batch %d was refused", 5)
    assert lines() == ["causal_otel: batch 5 was refused"]


def test_once_an_hour(clock: Clock, lines: Lines) -> None:
    """What is to be said once an hour is not said after a minute, and the next line tells how often that was."""
    log = ThrottledLog()
    for _ in range(60):
        log.say("rejected", "rejected", every=HOUR)
        clock.now += 60
    assert lines() == ["causal_otel: rejected"]
    log.say("rejected", "rejected", every=HOUR)
    assert lines() == ["causal_otel: rejected (the same 59 times more since this was last said)"]


def test_each_kind_by_itself(lines: Lines) -> None:
    """A line of one kind holds back none of another."""
    log = ThrottledLog()
    for kind in ("refused", "unreachable", "refused"):
        log.say(kind, kind)
    assert lines() == ["causal_otel: refused", "causal_otel: unreachable"]


def test_muted(lines: Lines) -> None:
    """While muted it says nothing, and does not count what it was told."""
    log = ThrottledLog()
    log.muted = True
    log.say("refused", "refused")
    log.muted = False
    log.say("refused", "refused")
    assert lines() == ["causal_otel: refused"]


def test_bounded(lines: Lines) -> None:
    """However many kinds there are, it remembers only so many; what it has forgotten is said again."""
    log = ThrottledLog()
    for number in range(1000):
        log.say(f"kind {number}", "said")
        assert len(log._said) <= 64
    assert len(lines()) == 1000
    log.say("kind 0", "said")
    log.say("kind 999", "said")
    assert len(lines()) == 1
