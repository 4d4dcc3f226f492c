"""Installing the patch for Celery and taking it out again."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery, group, signals
from celery.app import trace as tracers
from celery.app.amqp import AMQP
from celery.worker.consumer import consumer
from celery.worker.request import Request
from kombu.resource import Resource

from causal_otel.patches.celery import PATCH, CeleryOptions
from tests.recording import recording
from tests.span_relations import assert_span

SIGNALS = ("worker_process_shutdown", "worker_shutdown")


def test_uninstall_restores_everything() -> None:
    """What is patched is the very object again that it was, and the signals have the receivers that they had."""

    def state() -> list[Any]:
        patched = (
            vars(Celery)["send_task"],
            vars(AMQP)["_create_task_sender"],
            vars(group)["apply_async"],
            vars(Resource)["acquire"],
            tracers.build_tracer,
            vars(consumer)["build_tracer"],
            vars(Request)["__init__"],
        )
        return [*patched, *(list(getattr(signals, name).receivers) for name in SIGNALS)]

    before = state()
    for _ in range(2):
        with recording({"celery": CeleryOptions(flush_timeout=1)}):
            assert all(now != then for now, then in zip(state(), before, strict=True))
        assert state() == before
        assert vars(Celery)["send_task"] is before[0]


def test_installing_where_tasks_have_their_tracer(local: Celery) -> None:
    """Tasks that a worker is ready to execute are traced from then on, once, until it is undone; again after that."""

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    def execute() -> None:
        done = tracers.trace_task(work, "1", (), {}, {"id": "1", "delivery_info": {}}, app=local)
        assert done.info is None

    local.set_current()
    execute()
    before = work.__trace__
    for _ in range(2):
        with recording(["celery"]) as recorded:
            execute()
            assert_span(recorded.only("process local.work"), None)
        assert work.__trace__ is before
    with recording(["celery"]) as recorded:
        work.__trace__ = None
        execute()
    with recording(["celery"]) as recorded:
        execute()
        assert_span(recorded.only("process local.work"), None)


def test_somebody_elses_tracer_between_two_of_ours(local: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has wrapped our ``build_tracer`` before the worker imports it is called, and there is one span."""
    seen = []

    def build_tracer(*args: Any, **kwargs: Any) -> Any:
        tracer = tracers.build_tracer(*args, **kwargs)

        @functools.wraps(tracer)
        def trace_task(*args: Any) -> Any:
            seen.append(args[0])
            return tracer(*args)

        return trace_task

    @local.task(shared=False, name="local.work")
    def work() -> None: ...

    with recording(["celery"]):
        functools.update_wrapper(build_tracer, tracers.build_tracer)
    monkeypatch.setattr(consumer, "build_tracer", build_tracer)
    with recording(["celery"]) as recorded:
        request = {"id": "1", "delivery_info": {}, "is_eager": False}
        vars(consumer)["build_tracer"]("local.work", work, app=local)("1", (), {}, request)
        assert_span(recorded.only("process local.work"), None)
    assert seen == ["1"]


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
assert hasattr(celery.Celery.send_task, "__wrapped__")
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
