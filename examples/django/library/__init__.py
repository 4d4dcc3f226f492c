"""A library's site. Whatever way Django is started, it imports this first."""

from __future__ import annotations

import causal_otel

causal_otel.install()
