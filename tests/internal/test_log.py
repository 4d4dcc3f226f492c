"""Our log: whose a message is stands in the message."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

import causal_otel
from causal_otel._internal.log import logger
from tests.faults.programs import run

PACKAGE = Path(causal_otel.__file__).parent


@pytest.mark.parametrize("name", ["causal_otel", "causal_otel.collector.store.writer"])
def test_prefix(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """A message begins with the package's name, keeps its arguments and its traceback, and names the calling line."""
    try:
        raise ValueError("v")
    except ValueError:
        logger(name).exception("%d spans, 100 %% of them", 3)
    (record,) = caplog.records
    assert record.getMessage() == "causal_otel: 3 spans, 100 % of them"
    assert (record.name, record.args, record.levelno) == (name, (3,), logging.ERROR)
    assert record.exc_info is not None
    assert record.filename == Path(__file__).name


def test_there_is_no_other_logger() -> None:
    """All modules log through the one that puts the prefix there; none asks logging itself for a logger."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        if file == PACKAGE / "_internal/log.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.rpartition(".")[2] in ("getLogger", "getChild") or called in {
                    f"logging.{level}"
                    for level in ("debug", "info", "warning", "error", "exception", "critical", "log")
                }:
                    found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {called}")
    assert found == []


def test_in_a_format_of_the_users() -> None:
    """A user whose format shows nothing but messages sees whose they are: of install(), patches, export and faults."""
    done = run(
        """
        import logging
        logging.basicConfig(format="%(message)s", level=logging.INFO)
        import causal_otel
        from causal_otel._internal import faults
        installed = causal_otel.install(
            patches=[], service_name="a", exporter="jaeger", jaeger_port=6831, jaeger_host="127.0.0.1",
            timeout=0.1, export_timeout=0.1, exit_timeout=0.1, sampler="always_on", sampling_file="/dev/null",
        )
        causal_otel.install(service_name="b")
        with causal_otel.span("s"):
            pass
        installed.flush(20)
        try:
            raise ValueError
        except ValueError:
            faults.report("here")
        """
    )
    assert done.returncode == 0, done.stderr
    messages = [
        line for line in done.stderr.splitlines() if line and not line.startswith((" ", "Traceback", "ValueError"))
    ]
    assert len(messages) >= 4
    assert [line for line in messages if not line.startswith("causal_otel: ")] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_filter_that_raises(when: str) -> None:
    """No message of ours lets a filter of the user's raise where it was logged: not in install(), nor in an import."""
    install = "causal_otel.install(patches=['redis'], exporter='none', service_name='a')"
    done = run(
        f"""
        import logging, causal_otel
        from importlib import metadata

        def broken(record):
            raise ZeroDivisionError("a bug of the user's")

        logging.getLogger("causal_otel").addFilter(broken)
        version = metadata.version
        metadata.version = lambda name: "99" if name == "redis" else version(name)  # is logged: it is not supported
        {install if when == "before" else "pass"}
        import redis
        {install}
        causal_otel.install(service_name="b")  # is logged: it is ignored
        states = [str(patch) for patch in causal_otel.status().patches if patch.name == "redis"]
        assert states[0].startswith("redis: unsupported redis 99"), states
        assert len(causal_otel.status().warnings) >= 1
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
