"""Whatever is done with SQLAlchemy in whatever order, the user sees what it does alone, and the spans are right."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from tests.patches.any_engine import any_engine, url_of
from tests.patches.authors import Author, Base, Book
from tests.patches.either import settle
from tests.patches.sequences import AS_LONG_AS_IT_TAKES, assert_unnoticed
from tests.patches.sqlalchemy_steps import ASYNC, BOTH, POSTGRES, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

DRIVERS = ["asyncpg", "psycopg", "pysqlite"]

AT_LEAST = {"refused": 1, "wait for a pool given up": 1}
"""How many spans a step makes in any case: any other may meet a pool without a free connection."""

NO_FAILURES = (
    *("DetachedInstanceError", "InvalidRequestError", "MultipleResultsFound", "ResourceClosedError", "StatementError"),
    *("KeyError", "MissingGreenlet"),
)
"""What SQLAlchemy does not even try, and the program's own."""


def _steps(driver: str) -> dict[str, Callable[[State], Any]]:
    found = dict(BOTH)
    if driver != "pysqlite":
        found |= POSTGRES
    if driver == "asyncpg":
        found |= ASYNC
    return found


def _fill(session: Session) -> None:
    session.query(Book).delete()
    session.query(Author).delete()
    session.add_all(Author(id=number, name="x", books=[Book(id=number)]) for number in range(3))
    session.commit()


def _create(session: Session) -> None:
    Base.metadata.drop_all(session.connection())
    Base.metadata.create_all(session.connection())
    session.commit()


def _sequence(url: str, sequence: list[str], patches: list[str]) -> None:
    driver = url.partition("://")[0].partition("+")[2]

    @asynccontextmanager
    async def opened() -> AsyncIterator[State]:
        async with any_engine(url, pool_size=2, max_overflow=0, pool_timeout=0.01) as engine:
            await engine.in_session(_create)
            await engine.in_session(_fill)
            state = State(url, engine, [], [])
            try:
                yield state
            finally:
                for each in (*state.sessions, *state.connections):
                    await settle(each.invalidate())  # its pool may have been disposed of
                    await settle(each.close())

    assert_unnoticed(patches, opened, _steps(driver), sequence, AT_LEAST, NO_FAILURES)


def _of(driver: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(_steps(driver))), min_size=1, max_size=10)


def _patches(driver: str) -> st.SearchStrategy[list[str]]:
    """With asyncpg either patch may be alone, too."""
    return st.sampled_from([["asyncpg", "sqlalchemy"], ["sqlalchemy"]] if driver == "asyncpg" else [["sqlalchemy"]])


@pytest.mark.parametrize(
    "driver",
    [pytest.param(each, marks=pytest.mark.long) if each == "psycopg" else each for each in DRIVERS],
)
def test_each_step(postgres_url: str, tmp_path: Path, driver: str) -> None:
    """All that the sequences are made of, once and in order."""
    _sequence(url_of(driver, postgres_url, tmp_path), list(_steps(driver)), ["asyncpg", "sqlalchemy"])


@settings(max_examples=1, derandomize=True, **AS_LONG_AS_IT_TAKES)
@given(_of("asyncpg"), _patches("asyncpg"))
def test_a_few_sequences(postgres_url: str, tmp_path: Path, sequence: list[str], patches: list[str]) -> None:
    """Random sequences, as many as there is time for."""
    _sequence(url_of("asyncpg", postgres_url, tmp_path), sequence, patches)


@pytest.mark.long
@pytest.mark.parametrize("driver", DRIVERS)
@settings(max_examples=5, **AS_LONG_AS_IT_TAKES)
@given(data=st.data())
def test_many_sequences(postgres_url: str, tmp_path: Path, driver: str, data: st.DataObject) -> None:
    """More of them."""
    _sequence(url_of(driver, postgres_url, tmp_path), data.draw(_of(driver)), data.draw(_patches(driver)))
