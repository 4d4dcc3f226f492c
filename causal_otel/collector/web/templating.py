"""How pages are made: the templates, their filters, and the headers that every page carries."""

from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.meta import find_referenced_templates
from starlette.templating import Jinja2Templates

from causal_otel.collector import units
from causal_otel.collector.web.addresses import operation_address, service_address
from causal_otel.collector.web.keyboard import keys_of
from causal_otel.collector.web.value_links import value_links

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = [
    "HEADERS",
    "STATIC",
    "age",
    "colours",
    "fragment",
    "load_templates",
    "page",
    "share",
    "size",
    "static",
    "utc",
]

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every page is sent with: nothing inline and nothing from elsewhere runs, whatever a span holds."""

_COLOURS = 32


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> Response:
    """Answer with ``template``, which also sees ``request``; with :data:`HEADERS`."""
    return _templates.TemplateResponse(request, template, dict(context or {}), status_code=status, headers=HEADERS)


def fragment(template: str, macro: str, *arguments: Any) -> str:
    """The HTML that ``macro`` of ``template`` makes of ``arguments``."""
    return str(getattr(_environment.get_template(template).module, macro)(*arguments))


def load_templates(name: str) -> None:
    """Compile a page's template and those that it is made of, which the first page would wait for."""
    waiting, known = [name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        source, _, _ = _loader.get_source(_environment, name)
        _environment.get_template(name)
        waiting.extend(each for each in find_referenced_templates(_environment.parse(source)) if each)


@cache
def static(name: str) -> str:
    """The address of the static file ``name``, which changes with its contents: it may be cached for good."""
    version = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={version}"


def colours(services: Iterable[str]) -> dict[str, int]:
    """A number from 0 to 31 for each service: the class ``s<number>`` of whatever has its colour.

    It is a hash of the name alone. So a service has one colour on all pages for good, whatever others come and go. Of
    ten services two have the same one more often than not: every colour stands beside the name.
    """
    return {service: zlib.crc32(service.encode("utf-8", "surrogatepass")) % _COLOURS for service in services}


def utc(nanoseconds: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A Unix time in nanoseconds as UTC; a time that no calendar holds as its number."""
    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return str(nanoseconds)


def age(nanoseconds: int, now: int) -> str:
    """How long before ``now`` a Unix time in nanoseconds was, in its largest unit: ``3 min ago``."""
    seconds = (now - nanoseconds) // 10**9
    if seconds < 0:
        return "in the future"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name} ago"
    return f"{seconds} s ago" if seconds else "just now"


def count(number: int) -> str:
    """``number`` with its thousands set apart."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, noun: str, several: str = "") -> str:
    """``1 span``, ``2 spans``; ``several`` is the plural of a noun that takes more than an s."""
    return f"{count(number)} {noun if number == 1 else several or f'{noun}s'}"


def share(part: float) -> str:
    """A share of 1 in percent: ``0.4 %``, ``12 %``."""
    percent = part * 100
    return f"{percent:.0f} %" if percent >= 9.95 or not percent else f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def size(count: float) -> str:
    """So many bytes in decimal units: ``4.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if count >= 9.95 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


_loader = FileSystemLoader(Path(__file__).parent / "templates")
_environment = Environment(
    loader=_loader,
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    duration=units.format_duration, utc=utc, age=age, count=count, plural=plural, share=share, size=size
)
_environment.globals.update(
    static=static, value_links=value_links, operation_address=operation_address, service_address=service_address
)


def _of_every_page(request: Request) -> dict[str, Any]:
    """What the frame of the pages shows: the page's keys, and the collector's troubles.

    The application says what these are by its ``state.troubles``, if it knows.
    """
    app = request.scope.get("app")
    ask = getattr(app.state, "troubles", None) if app is not None else None
    return {"keys": keys_of(request.url.path), "troubles": ask() if ask is not None else []}


_templates = Jinja2Templates(env=_environment, context_processors=[_of_every_page])
