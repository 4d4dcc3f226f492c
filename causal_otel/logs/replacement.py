"""A method of ``logging.Logger`` with ours around it, and its undoing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Replacement"]


class Replacement:
    """Puts a function in the place of a method, until :meth:`undo`.

    Args:
        method: its name.
        make: gives the function, from the original and from this object, whose ``active`` it has to look at.
    """

    def __init__(self, method: str, make: Callable[[Callable[..., Any], Replacement], Callable[..., Any]]) -> None:
        self.active = True
        self._method = method
        self._original = vars(logging.Logger)[method]
        self._placed = make(self._original, self)
        setattr(logging.Logger, method, self._placed)

    def undo(self) -> None:
        """Put back the very function that was there; under somebody else's wrapper, ours stays and does nothing."""
        self.active = False
        if vars(logging.Logger)[self._method] is self._placed:
            setattr(logging.Logger, self._method, self._original)
