"""``install()`` for a process whose code does not call it: of ``causal-otel run`` and of ``opentelemetry-instrument``.

Before any line of the application, as the environment says, and without ever keeping the application from starting.
"""

from __future__ import annotations

from functools import partial, wraps
from types import ModuleType
from typing import Any

import wrapt

from causal_otel._internal import faults
from causal_otel._internal.log import logger
from causal_otel.install import install
from causal_otel.installation import installation
from causal_otel.settings import SettingError

__all__ = ["install_from_environment"]

_GREENLETS = {"gevent.monkey": "patch_all", "eventlet.patcher": "monkey_patch"}
"""What replaces threads and locks by greenlets': the functions, by their modules."""

_logger = logger()


def install_from_environment() -> None:
    """Install, unless somebody has. Raises nothing: one line of the log says why nothing is traced, if so."""
    if installation() is None:
        _install()
        for module, function in _GREENLETS.items():
            wrapt.register_post_import_hook(partial(_install_anew_around, function), module)


def _install() -> None:
    try:
        install().replaceable = True
    except Exception as error:
        _logger.warning("nothing is traced: %s", error if isinstance(error, SettingError) else repr(error))


def _install_anew_around(function: str, module: ModuleType) -> None:
    """Install after greenlets have replaced threads and locks, and not before.

    A lock of ours that was made before is the system's: a greenlet that waits for it would stop all others for ever.
    """
    original = getattr(module, function)

    @wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        made = installation()
        if made is None or not made.replaceable:
            return original(*args, **kwargs)
        try:
            made.uninstall()
        except Exception:
            faults.report("greenlets: uninstalling")
        try:
            return original(*args, **kwargs)
        finally:
            _install()

    setattr(module, function, patched)
