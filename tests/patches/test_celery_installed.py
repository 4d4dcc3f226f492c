"""Installing the patch for Celery and taking it out again."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
from typing import Any

from celery import Celery, signals

from causal_otel.patches.celery import PATCH, CeleryOptions
from tests.recording import recording

SIGNALS = ("before_task_publish", "task_prerun", "task_postrun", "worker_process_shutdown", "worker_shutdown")


def test_uninstall_restores_everything() -> None:
    """The patched method is the very object again that it was, and the signals have the receivers that they had."""

    def state() -> list[Any]:
        return [vars(Celery)["send_task"], *(list(getattr(signals, name).receivers) for name in SIGNALS)]

    before = state()
    for _ in range(2):
        with recording({"celery": CeleryOptions(flush_timeout=1)}):
            assert all(now != then for now, then in zip(state(), before, strict=True))
        assert state() == before
        assert vars(Celery)["send_task"] is before[0]


def test_patched_method_looks_as_before() -> None:
    """Signature, kind, pickling and deep-copying of the patched method are the original's."""
    original = Celery.send_task
    signature = inspect.signature(original)
    with recording(["celery"]):
        patched = Celery.send_task
        assert patched is not original
        assert inspect.signature(patched) == signature
        assert not inspect.iscoroutinefunction(patched)
        assert pickle.loads(pickle.dumps(patched)) is patched
        assert copy.deepcopy(patched) is patched


def test_installing_imports_no_celery() -> None:
    """The patch waits for Celery to be imported, then takes hold; uninstalling before that is fine."""
    program = """
import sys
import causal_otel
causal_otel.install(patches=["celery"])
causal_otel.uninstall()
installed = causal_otel.install(patches=["celery"])
assert not {"celery", "kombu"} & set(sys.modules)
assert [str(row) for row in causal_otel.status().patches if row.name == "celery"] == ["celery: waiting"]
import celery
celery.Celery("x").send_task
row = next(row for row in causal_otel.status().patches if row.name == "celery")
assert (row.state, row.problems) == ("on", []), row
from celery import signals
assert len(signals.task_prerun.receivers) == 1
"""
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_targets_are_all_found() -> None:
    """Nothing of what the patch wants is missing in the installed version."""
    import causal_otel

    with recording(["celery"]):
        row = next(row for row in causal_otel.status().patches if row.name == PATCH.name)
        assert (row.state, row.problems) == ("on", [])
