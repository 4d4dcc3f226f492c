"""What an instrumentor is doing."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InstrumentorStatus"]


@dataclass
class InstrumentorStatus:
    """What an instrumentor is doing. ``str()`` is a line for people.

    ``state`` is ``waiting`` (its library is not imported yet), ``on``, ``conflict`` (it does not go with the installed
    version of the library, or of ``opentelemetry-instrumentation``), ``failed`` (while it was imported or applied),
    ``replaced`` (something of ours traces the same), ``foreign`` (the application has applied it before, and it is left
    alone) or ``missing`` (it is not installed).
    """

    name: str
    distribution: str
    version: str
    state: str = "waiting"
    problem: str = ""

    def because(self, state: str, problem: str) -> InstrumentorStatus:
        """Itself, in another state, and why."""
        self.state, self.problem = state, problem
        return self

    def __str__(self) -> str:
        source = f" ({self.distribution} {self.version})" if self.distribution else ""
        colon = "" if self.state == "replaced" else ":"
        return f"{self.name}: {self.state}" + (f"{colon} {self.problem}" if self.problem else "") + source
