"""The protocol of what takes secrets out of spans, and the mark of text that has none any more."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Redaction", "Sanitised"]


class Sanitised(str):
    """A database statement whose literals a patch has taken out.

    In it ``token = u.token`` compares two columns. In any other text it may be a secret.
    """

    __slots__ = ()


class Redaction(Protocol):
    """Both methods return the very object they were given where there is nothing to hide, and never raise."""

    def value(self, key: str, value: Any) -> Any:
        """An attribute's value, as it may be shown.

        Args:
            key: the attribute's key.
            value: the value, of any type, checked or not.
        """

    def text(self, text: str) -> str:
        """A name or a description, as it may be shown."""
