"""The style sheet of the report, in the colours of the collector's pages, and its hash, by which the page allows it."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["STYLE", "STYLE_HASH"]

STYLE = (
    """
:root {
  color-scheme: light dark;
  --bg: light-dark(#f6f7f9, #0f1216); --surface: light-dark(#ffffff, #171b21); --border: light-dark(#dce1e7, #2c343e);
  --text: light-dark(#1b2430, #e3e8ee); --muted: light-dark(#5b6776, #96a2b1); --accent: light-dark(#1f5fbf, #74a9f7);
  --error: light-dark(#c02b32, #f4777c); --ok: light-dark(#1a7a45, #5bc48a);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main, footer { max-width: 1200px; margin: 0 auto; padding: 8px 20px; }
h1 { font-size: 24px; } h2 { font-size: 17px; margin: 28px 0 0; overflow-wrap: anywhere; }
p { margin: 6px 0; } a { color: var(--accent); }
.muted { color: var(--muted); } .passed { color: var(--ok); } .failed { color: var(--error); }
.tests { width: 100%; border-collapse: collapse; background: var(--surface); border: 1px solid var(--border); }
.tests th, .tests td { padding: 5px 12px; text-align: left; border-bottom: 1px solid var(--border); }
.tests td:first-child { overflow-wrap: anywhere; }
.tests th:last-child, .tests td:last-child { text-align: right; white-space: nowrap; }
.trace { margin: 8px 0 16px; background: var(--surface); border: 1px solid var(--border); border-radius: 6px; }
.row + .row { border-top: 1px solid var(--border); }
.row { color: var(--text); }
summary { display: grid; grid-template-columns: minmax(0, 5fr) 90px minmax(120px, 4fr); gap: 12px; padding: 3px 12px;
  cursor: pointer; list-style: none; align-items: center; }
summary::-webkit-details-marker { display: none; }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row[open] .name { white-space: normal; overflow-wrap: anywhere; }
.took { text-align: right; white-space: nowrap; }
.time { width: 100%; height: 14px; }
.bar { fill: light-dark(#7b65c2, #ad9bf5); }
.call .bar { fill: light-dark(#0084a7, #2ebbe8); } .http .bar { fill: light-dark(#b85725, #ee8f63); }
.serves .bar { fill: light-dark(#51892a, #86bd67); }
.row.failed .bar { fill: var(--error); } .row.failed .name { color: var(--error); }
dl { display: grid; grid-template-columns: minmax(140px, 1fr) 3fr; margin: 0; gap: 2px 16px;
  padding: 4px 12px 10px 32px; }
dt { color: var(--muted); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap;
  font: 13px/1.5 ui-monospace, "SF Mono", "Liberation Mono", "DejaVu Sans Mono", monospace; }
footer { font-size: 13px; padding-bottom: 24px; }
@media (max-width: 640px) {
  summary { grid-template-columns: minmax(0, 1fr) 80px; }
  .time { grid-column: 1 / -1; }
  dl { grid-template-columns: 1fr; }
}
@media print { .row { break-inside: avoid; } }
"""
    + "\n".join(f".d{depth} {{ padding-left: {14 * depth}px; }}" for depth in range(25))
    + "\n"
)

STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}"
