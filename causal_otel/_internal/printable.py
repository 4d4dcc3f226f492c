"""Text from elsewhere, made harmless for a terminal and a log."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, longest: int | None = None) -> str:
    """``text`` on one line. It comes from elsewhere: nothing in it may move the cursor or turn the line around.

    Args:
        text: any text.
        longest: how many characters are kept; the last one of a text that is cut is an ellipsis. None: all.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)
