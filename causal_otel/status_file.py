"""What a process says of itself in a file, ``<pid>.json``, which ``causal-otel doctor --pid`` reads.

The setting ``status_directory`` turns it on. The file is written by ``install()`` and every ten seconds by the thread
that encodes spans. A forked process has a file of its own from the moment at which its first span has ended: that is
when it has such a thread. Whatever ends the process in order removes the file; after a SIGKILL it stays.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from causal_otel._internal import faults
from causal_otel._internal.throttled_log import ThrottledLog
from causal_otel._version import __version__
from causal_otel.configuration.in_force import SettingInForce
from causal_otel.export import shutdown_hooks
from causal_otel.export.status import ExportStatus
from causal_otel.instrument.declaration import PatchStatus
from causal_otel.instrument.other_tracers import other_tracers, span_processors
from causal_otel.instrumentors.status import InstrumentorStatus
from causal_otel.sampling.status import BufferStatus, SamplingStatus
from causal_otel.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECONDS", "StatusFile", "as_json", "described", "read_status"]

SECONDS = 10.0
"""Between two writings."""

_PARTS = {"export": ExportStatus, "logs": ExportStatus, "sampling": SamplingStatus, "buffer": BufferStatus}

_Made = TypeVar("_Made")


class StatusFile:
    """The file of this process, and of those that it forks.

    Args:
        directory: where; it is made if it is not there.
        describe: what to write, see :func:`described`.
    """

    def __init__(self, directory: str, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._directory = Path(directory).absolute()  # the process may go elsewhere
        self._describe = describe
        self._written_by = self._over_in = 0  # process ids
        self._due = 0.0
        self._log = ThrottledLog()
        self.beat()
        shutdown_hooks.register(self.remove)

    def beat(self) -> float:
        """Write the file if it is time, and return how many seconds there are until the next time."""
        now, pid = time.monotonic(), os.getpid()
        if pid == self._over_in:
            return SECONDS
        if pid != self._written_by or now >= self._due:
            self._written_by, self._due = pid, now + SECONDS
            self._write(pid)
        return max(0.0, self._due - now)

    def _write(self, pid: int) -> None:
        try:
            text = json.dumps(self._describe(), indent=1, default=as_json)
            self._directory.mkdir(parents=True, exist_ok=True)
            beside = self._directory / f".{pid}.json"
            beside.write_text(text, encoding="utf-8")
            beside.replace(self._directory / f"{pid}.json")
        except OSError as error:
            self._log.say("status file", "the status file cannot be written: %s", error)
        except Exception:
            faults.report("status file")

    def remove(self) -> None:
        """Take the file away, if this process has written it, and write none any more."""
        pid = os.getpid()
        if pid not in (self._written_by, self._over_in):
            return
        self._over_in = pid
        try:
            (self._directory / f"{pid}.json").unlink(missing_ok=True)
        except OSError as error:
            self._log.say("status file", "the status file cannot be removed: %s", error)


def described(status: Status, provider: object = None, application: object = None) -> dict[str, Any]:
    """What a process says of itself. There is no secret in it.

    Args:
        status: of its installation.
        provider: that its patches use.
        application: that it serves, if it is known.
    """
    packages = {name.partition(".")[0] for name in tuple(sys.modules)} - sys.stdlib_module_names
    return {
        "format": 1,
        "written": time.time(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": sys.argv[0] if sys.argv else "",
        "python": sys.version.partition(" ")[0],
        "executable": sys.executable,
        "causal_otel": __version__,
        "status": as_json(status),
        "imported": sorted(packages),
        "other_tracers": [tracer._asdict() for tracer in other_tracers(application)],
        "span_processors": span_processors(provider),
    }


def as_json(value: Any) -> Any:
    """A value as JSON has it: whatever has fields is a mapping of their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: as_json(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def read_status(document: Mapping[str, Any]) -> Status:
    """The status in what :func:`described` has written. What this version does not know of is left out.

    Raises:
        TypeError: It is no such thing.
    """
    values = dict(document)
    values["patches"] = tuple(_made(PatchStatus, each) for each in document.get("patches") or ())
    values["settings"] = tuple(_made(SettingInForce, each) for each in document.get("settings") or ())
    values["instrumentors"] = tuple(_made(InstrumentorStatus, each) for each in document.get("instrumentors") or ())
    for name, kind in _PARTS.items():
        if document.get(name) is not None:
            values[name] = _made(kind, document[name])
    return _made(Status, values)


def _made(kind: type[_Made], values: Mapping[str, Any]) -> _Made:
    """One of our records, whose tuples have come as lists."""
    kinds = kind.__annotations__
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) and "tuple[" in str(kinds[name]) else value
            for name, value in values.items()
            if name in kinds
        }
    )
