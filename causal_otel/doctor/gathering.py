"""Gathers the facts: of a command's application, of a running process's status file, or of the environment alone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from causal_otel.doctor.facts import Facts
from causal_otel.doctor.launching import import_application, observed
from causal_otel.doctor.probe import SERVICE, probes
from causal_otel.load_settings import load_settings
from causal_otel.settings import SettingError, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from causal_otel.doctor.probe import Searched

__all__ = ["of_command", "of_environment", "of_status_file"]

_TRIALS = 1000
"""How often a sampler is asked what it would do."""


def of_environment(find: Callable[[str, bytes], Searched], operation: str = "") -> Facts:
    """Of the environment's configuration and the collector.

    Args:
        find: looks for the test span, see :func:`causal_otel.doctor.probe.probes`.
        operation: the name of what is looked for; empty: nothing in particular.
    """
    facts = Facts(environ=dict(os.environ), operation=operation)
    try:
        settings = load_settings()
    except SettingError as error:
        return replace(facts, refused=str(error))
    return _asked(replace(facts, settings=settings), find) if settings.wanted else replace(facts, settings=settings)


def of_command(
    command: Sequence[str], seconds: float, find: Callable[[str, bytes], Searched], operation: str = ""
) -> Facts:
    """Of the application that a command imports.

    Args:
        command: a program and its arguments.
        seconds: how long the import may take.
        find: looks for the test span, see :func:`causal_otel.doctor.probe.probes`.
        operation: the name of what is looked for; empty: nothing in particular.
    """
    found = import_application(command, seconds)
    facts = Facts(
        environ=found.environ,
        settings=found.settings,
        application=found.application,
        observed=found.observed,
        refused=found.application.problem if found.application.refused else "",
        operation=operation,
    )
    status = None if found.observed is None else found.observed.status
    if status is None or not status.installed or status.sampling is None:
        return facts  # nothing is traced, or another provider exports
    return _asked(facts, find)


def of_status_file(path: Path) -> Facts:
    """Of a process that keeps such a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        process = observed(document)
        here = document.get("host") == socket.gethostname()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no status file of causal_otel: {error!r}") from None
    return Facts(
        observed=process, left_behind="" if not here or _runs(process.pid) else f"process {process.pid} has ended"
    )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _asked(facts: Facts, find: Callable[[str, bytes], Searched]) -> Facts:
    """With what came of asking the collector, and the sampler."""
    settings = facts.settings
    assert settings is not None
    with _environment(facts.environ):
        try:
            facts = replace(facts, probes=tuple(probes(settings, find)))
        except SettingError as error:
            facts = replace(facts, refused=str(error))
        service = settings.service_name if facts.observed is None else facts.observed.status.service_name
        return replace(facts, share=_share(settings, service, facts.operation or SERVICE))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Ask with the variables that the application has, such as proxies from its own files."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _share(settings: Settings, service: str, operation: str) -> float | None:
    """How often a request of that name is recorded where nobody before has decided; the sampler itself is asked."""
    from opentelemetry.sdk.trace.sampling import Decision
    from opentelemetry.trace import SpanKind

    from causal_otel.sampling.configured import Sampling

    sampling = Sampling(settings, service)
    try:
        decided = [
            sampling.sampler.should_sample(
                None, int.from_bytes(os.urandom(16)), operation, SpanKind.SERVER, _start_attributes(operation)
            )
            for _ in range(_TRIALS)
        ]
    finally:
        sampling.close()
    return sum(each.decision is Decision.RECORD_AND_SAMPLE for each in decided) / _TRIALS


def _start_attributes(operation: str) -> dict[str, str]:
    """What the patches know of such a request when it begins."""
    from causal_otel.names import HTTP_REQUEST_METHOD, URL_PATH

    method, _, path = operation.partition(" ")
    return {HTTP_REQUEST_METHOD: method, URL_PATH: path} if path.startswith("/") else {}
