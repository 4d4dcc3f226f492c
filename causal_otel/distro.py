"""Our engine and our patches under ``opentelemetry-instrument``: its entry points for a distro and a configurator.

Only that command imports this module, and with it OpenTelemetry's packages ``instrumentation`` and ``sdk``.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined] # their file is not checked
from opentelemetry.sdk._configuration import _BaseConfigurator

from causal_otel.bootstrap import install_from_environment
from causal_otel.install import status
from causal_otel.installation import installation
from causal_otel.instrumentors.conventions import switch_on
from causal_otel.instrumentors.known import replaced_by_ours

__all__ = ["Configurator", "Distro"]


class Configurator(_BaseConfigurator):
    """Installs causal_otel, in place of the SDK's providers and exporters."""

    def _configure(self, **_: Any) -> None:
        install_from_environment()


class Distro(BaseDistro):  # type: ignore[misc]
    """Activates OpenTelemetry's instrumentors, but for those of what our patches trace: nothing is there twice."""

    def _configure(self, **_: Any) -> None:
        """Have them use the stable conventions, as our patches do; the environment says all else."""
        switch_on()

    def load_instrumentor(self, entry_point: EntryPoint, **options: Any) -> None:
        """Activate one of them, with our providers, unless a patch of ours is in its place."""
        if replaced_by_ours(entry_point.name) not in self._at_work:
            super().load_instrumentor(entry_point, **{**self._providers, **options})

    @cached_property
    def _at_work(self) -> set[str]:
        """The patches of ours that are at work, or will be when their drivers are imported; and what logs have."""
        made = installation()
        logs = {"logs"} if made is not None and made.settings is not None and made.settings.logs != "off" else set()
        return {patch.name for patch in status().patches if patch.state != "off"} | logs

    @cached_property
    def _providers(self) -> dict[str, Any]:
        made = installation()
        return {} if made is None or made.reason else made.instrumentor_providers().arguments()
