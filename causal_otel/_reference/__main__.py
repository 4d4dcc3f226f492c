"""``make docs``: write every generated page and block into the checkout that this file lies in."""

from __future__ import annotations

from causal_otel._reference.pages import ROOT, generated

for path, text in generated().items():
    (ROOT / path).write_text(text, encoding="utf-8")
