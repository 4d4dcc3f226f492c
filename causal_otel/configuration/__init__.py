"""Where settings come from: arguments, variables, OpenTelemetry's configuration file, ``pyproject.toml``.

The first of these counts. ``load_settings.py`` puts them together.
"""

from __future__ import annotations
