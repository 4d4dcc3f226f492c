from __future__ import annotations

from tests.collector.web.browser import chromium, open_page, serve

__all__ = ["chromium", "open_page", "serve"]
