"""What the checks look at: gathered once, before the first of them runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.other_tracers import OtherTracer
from causal_otel.status import Status

if TYPE_CHECKING:
    from causal_otel.doctor.probe import Probe
    from causal_otel.settings import Settings

__all__ = ["Application", "Facts", "Observed"]


@dataclass(frozen=True, kw_only=True)
class Application:
    """What came of importing the application of a command, in a process of its own.

    Attributes:
        command: as it was given.
        server: the name of the program, such as ``uvicorn``.
        target: what was imported, such as ``shop.api:app``; empty: nobody could tell what the command imports.
        outcome: ``imported``; ``failed`` with an exception; ``running`` when the time was up; ``lost`` when the process
            ended by itself; ``unknown`` if nobody can tell what to import; ``missing`` without such a program;
            ``foreign`` if its Python has no causal_otel.
        problem: what the exception said, or where the process was when the time was up.
        place: file and line in which that happened, if it is known.
        python: that runs the command.
        refused: whether the problem is a setting that is not allowed.
        guarded: whether a script does its work under ``if __name__ == "__main__"``; None: it is no script.
        guarded_install: file and line of a call of ``install()`` under that guard; empty: there is none.
        installed: file and line of the call of ``install()`` in force; empty: the doctor has called it.
        arguments: the names of what this call is given.
        named_patches: what it names of ``patches``.
        packages: that the class of the application and its bases come from; empty: there is no such object.
        options: of the server, what the checks of servers ask for.
    """

    command: tuple[str, ...]
    server: str
    target: str = ""
    outcome: str = "imported"
    problem: str = ""
    place: str = ""
    python: str = ""
    refused: bool = False
    guarded: bool | None = None
    guarded_install: str = ""
    installed: str = ""
    arguments: tuple[str, ...] = ()
    named_patches: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a process says of itself: see :func:`causal_otel.status_file.described`.

    Attributes:
        pid: of the process.
        program: what it runs.
        written: when, in Unix time.
        status: of its installation.
        imported: names of packages that are not of the standard library.
        other_tracers: that are at work in it.
        span_processors: of the provider that the patches use, if it is one of the SDK's.
    """

    pid: int
    program: str
    written: float
    status: Status
    imported: frozenset[str] = frozenset()
    other_tracers: tuple[OtherTracer, ...] = ()
    span_processors: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known.

    Attributes:
        environ: the variables of whatever is looked at.
        settings: in force there; None: they are not known, or not allowed.
        refused: why a setting is not allowed; empty: all are.
        application: of the command; None: there was no command.
        observed: of the process that has imported it, or that runs; None: there is none.
        left_behind: why the status file is not of a process that runs; empty: it is.
        probes: what came of asking the collector, a signal each.
        operation: the name of what is looked for, if it was given.
        share: how often a request of that name, or of one that no rule knows, is recorded, from 0 to 1; None: it is not
            known.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    settings: Settings | None = None
    refused: str = ""
    application: Application | None = None
    observed: Observed | None = None
    left_behind: str = ""
    probes: tuple[Probe, ...] = ()
    operation: str = ""
    share: float | None = None
