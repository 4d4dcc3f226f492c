"""What a check finds: its kind, how grave that is, one sentence what, one why it matters, and a fix to paste."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["Finding", "Kind", "Severity"]


class Severity(IntEnum):
    """How grave a finding is; the gravest come first."""

    ERROR = 0
    """Something is not traced, not delivered or not found, though it was meant to be: the exit status is 1."""
    WARNING = 1
    """Something is traced that is of less use than it could be."""
    NOTE = 2
    """Something to know."""

    def __str__(self) -> str:
        return self.name.lower()


class Finding(NamedTuple):
    """One thing that a check has found.

    Attributes:
        kind: of it.
        what: one sentence about what is wrong, with the names and values that it is about.
        fix: lines to paste: commands, variables or code.
    """

    kind: Kind
    what: str
    fix: str

    def document(self) -> dict[str, str]:
        """For programs."""
        kind = self.kind
        return {
            "code": kind.code,
            "severity": str(kind.severity),
            "what": self.what,
            "why": kind.why,
            "fix": self.fix,
        }


class Kind(NamedTuple):
    """A kind of finding. Calling it makes one.

    Attributes:
        code: its name for programs; stable.
        severity: how grave it is.
        title: what all findings of the kind are about, for the page that lists them.
        why: one sentence about why that matters.
    """

    code: str
    severity: Severity
    title: str
    why: str

    def __call__(self, what: str, fix: str) -> Finding:
        """A finding of this kind."""
        return Finding(self, what, fix)
