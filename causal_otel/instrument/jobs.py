"""Jobs for threads of pools: what a patch tells of some of them, though another one hands them on.

The patch ``threads`` knows when a job is given to a pool; what the job waits for, such as a lock, is another's to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Around", "Watch", "Watched", "ask", "watch"]


class Around:
    """A job that calls another function and does nothing else that takes time.

    Args:
        function: the other one.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


class Watched(Protocol):
    """What is called in place of a job of which more is to be told."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the job, in its thread."""

    def submitted(self, future: Future[Any]) -> None:
        """The pool has returned this for it."""


Watch = Callable[[Callable[..., Any]], "Watched | None"]
"""Returns what is to be called in place of a job; None: the job itself, as nearly always. Never raises."""

ask: Watch | None = None
"""Is asked of each job that is given to a pool inside a trace; None: nobody is."""


def watch(asked: Watch) -> Callable[[], None]:
    """Have ``asked`` asked, until what is returned is called."""
    global ask
    ask = asked

    def undo() -> None:
        global ask
        if ask is asked:
            ask = None

    return undo
