"""Order a book of four pages, and wait until it is on its way."""

from __future__ import annotations

from celery import group

import causal_otel
from press import bind_book, print_page, ship

PAGES = 4

with causal_otel.span("order a book", {"pages": PAGES}):
    pages = group(print_page.s(number) for number in range(1, PAGES + 1))
    book = (pages | bind_book.s() | ship.s()).delay()
    print("trace", causal_otel.current_trace_id())

print(book.get(timeout=60))
