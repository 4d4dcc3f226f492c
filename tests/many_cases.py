"""Many small cases in one test: what pytest does around a test takes longer than such a case itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["many_cases"]


@contextmanager
def many_cases() -> Iterator[Callable[[object], AbstractContextManager[None]]]:
    """Give what runs a case under its name: all of them run, and in the end all that have failed are told by name.

    Raises:
        ExceptionGroup: What the cases have raised, each with the name of its case.
    """
    failures: list[Exception] = []

    @contextmanager
    def case(name: object) -> Iterator[None]:
        try:
            yield
        except Exception as failure:
            failure.add_note(f"in the case {name}")
            failures.append(failure)

    yield case
    if failures:
        raise ExceptionGroup(f"{len(failures)} cases have failed", failures)
