"""Our own failures: counted by site, logged once, never raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from causal_otel._internal import faults

SITE = "tests: a site of test_faults"


@pytest.fixture
def fail() -> Iterator[Callable[..., None]]:
    """Fails at a site and takes note of it; afterwards nothing is known of that site."""
    sites = set()

    def fail(site: str = SITE) -> None:
        sites.add(site)
        try:
            raise ZeroDivisionError("planted")
        except ZeroDivisionError:
            faults.report(site)

    yield fail
    for site in sites:
        del faults._counts[site]


def test_counted_each_time_and_logged_once(fail: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """However often a site fails, the log has one line of it, with the site and where it failed."""
    for _ in range(3):
        fail()
    assert faults.counts()[SITE] == 3
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "causal_otel")
    assert SITE in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_each_site_by_itself(fail: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """What one site has logged holds back no line of another."""
    fail()
    fail(f"{SITE}, another")
    assert [faults.counts()[site] for site in (SITE, f"{SITE}, another")] == [1, 1]
    assert len(caplog.records) == 2


def test_counts_are_those_of_their_moment(fail: Callable[..., None]) -> None:
    """What has been told of the counts does not change with later failures, nor they with it."""
    fail()
    told = faults.counts()
    fail()
    assert told[SITE] == 1
    told[SITE] = 7
    assert faults.counts()[SITE] == 2
