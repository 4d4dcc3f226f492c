"""The process that imports a command's application and serves nothing; it writes what it has seen to a file and ends.

    python -m causal_otel.doctor.child REPORT SECONDS COMMAND...

The application's own call of ``install()`` counts. Without one, ``install()`` is called after the import: what is
imported already is patched as well. The process ends without exporting anything.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import causal_otel
from causal_otel.doctor.commands import Target, UnknownCommand, target
from causal_otel.doctor.scripts import guard
from causal_otel.installation import Installation, installation
from causal_otel.load_settings import load_settings
from causal_otel.settings import SettingError, Settings, table
from causal_otel.status_file import as_json, described

__all__ = ["main"]

_LONGEST = 300


class _Report:
    """What has been seen so far; it is written once, by whoever comes first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.seen: dict[str, Any] = {}
        self.application: object = None

    def write(self, outcome: str, **more: Any) -> None:
        """Write it, and end the process."""
        with self._lock:
            self.seen.update(outcome=outcome, **more)
            made = installation()
            document: dict[str, Any] = {"application": self.seen, "environ": dict(os.environ)}
            if made is not None:
                self.seen.setdefault("installed", made.call.place)
                self.seen["arguments"] = list(made.call.arguments)
                self.seen["named_patches"] = _named(made.settings)
                document["process"] = described(made.status(), made.tracer_provider, self.application)
                document["settings"] = as_json(_settings(made))
            beside = self._path.with_suffix(".part")
            beside.write_text(json.dumps(document), encoding="utf-8")
            beside.replace(self._path)
            os._exit(0)


def _named(settings: Settings | None) -> list[str]:
    """The patches that a call, a variable or a file asks for by name."""
    patches = None if settings is None or settings.used("patches") is None else settings.patches
    wanted = (name for name in patches or () if not isinstance(patches, Mapping) or patches[name] is not False)
    return [name for name in wanted if name != "all" and not name.startswith("-")]


def _settings(made: Installation) -> dict[str, Any]:
    """All settings in force, by name."""
    settings = load_settings() if made.settings is None else made.settings
    return {setting.name: getattr(settings, setting.name) for setting in table()}


def main(arguments: Sequence[str]) -> None:
    """Import, report, end."""
    path, seconds, *command = arguments
    if not sys.flags.safe_path:
        sys.path.pop(0)  # what `python -m` has put there: whatever imports the application says where it is
    report = _Report(Path(path))
    timer = threading.Timer(float(seconds), _too_late, (report, threading.get_ident()))
    timer.daemon = True
    timer.start()
    try:
        found = target(command)
        report.seen.update(server=found.server, target=found.name, **_script(found))
        report.application = _loaded(found)
        kinds = () if report.application is None else type(report.application).__mro__
        report.seen["packages"] = sorted({kind.__module__.partition(".")[0] for kind in kinds} - {"builtins"})
        report.seen["options"] = as_json(found.options)
        if installation() is None:
            report.seen["installed"] = ""
            causal_otel.install()
    except UnknownCommand as unknown:
        report.write("unknown", problem=str(unknown))
    except SettingError as error:
        report.write("failed", refused=True, problem=str(error), place=_place(error.__traceback__))
    except BaseException as error:
        what = traceback.format_exception_only(error)[-1].strip()
        report.write("failed", problem=what[:_LONGEST], place=_place(error.__traceback__))
    report.write("imported")


def _loaded(found: Target) -> object:
    try:
        return found.load()
    except SystemExit as error:
        if error.code:
            raise
        return None  # a script that has done its work


def _script(found: Target) -> dict[str, Any]:
    if found.script is None:
        return {}
    guarded, place = guard(found.script)
    return {"guarded": guarded, "guarded_install": place}


def _too_late(report: _Report, thread: int) -> None:
    frame = sys._current_frames().get(thread)
    frames = [] if frame is None else [(each.filename, each.lineno) for each in traceback.extract_stack(frame)]
    report.write("running", place=_last_of_user(frames))


def _place(trace: TracebackType | None) -> str:
    return _last_of_user([(each.filename, each.lineno) for each in traceback.extract_tb(trace)])


def _last_of_user(frames: Sequence[tuple[str, int | None]]) -> str:
    """The innermost place that is neither the standard library's nor an installed package's."""
    ours = os.path.dirname(__file__)
    for file, line in reversed(frames):
        if not (file.startswith(("<", ours, sys.base_prefix + os.sep + "lib")) or "site-packages" in file):
            return f"{os.path.relpath(file)}:{line}"
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
