"""Our engine and our patches under ``opentelemetry-instrument``: its entry points for a distro and a configurator.

Only that command imports this module, and with it OpenTelemetry's packages ``instrumentation`` and ``sdk``.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined] # their file is not checked
from opentelemetry.sdk._configuration import _BaseConfigurator

from causal_otel.bootstrap import install_from_environment, replaced_by_ours
from causal_otel.install import status

__all__ = ["Configurator", "Distro"]


class Configurator(_BaseConfigurator):
    """Installs causal_otel, in place of the SDK's providers and exporters."""

    def _configure(self, **_: Any) -> None:
        install_from_environment()


class Distro(BaseDistro):  # type: ignore[misc]
    """Activates OpenTelemetry's instrumentors, but for those of what our patches trace: nothing is there twice."""

    def _configure(self, **_: Any) -> None:
        """Nothing: the environment says it all."""

    def load_instrumentor(self, entry_point: EntryPoint, **options: Any) -> None:
        """Activate one of them, with our provider, unless a patch of ours is in its place."""
        if replaced_by_ours(entry_point.name) not in self._at_work:
            super().load_instrumentor(entry_point, **options)

    @cached_property
    def _at_work(self) -> set[str]:
        """The patches of ours that are at work, or will be when their drivers are imported."""
        return {patch.name for patch in status().patches if patch.state != "off"}
