"""``python -m causal_otel`` is ``causal-otel``."""

from __future__ import annotations

import sys

from causal_otel.cli import main

if __name__ == "__main__":
    sys.exit(main())
