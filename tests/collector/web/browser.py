"""A real browser for the pages: one that fails the test for whatever the page complains of or asks of other hosts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest
import uvicorn
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request
    from starlette.types import ASGIApp

__all__ = ["OpenPage", "chromium", "open_page", "screenshot", "serve", "serving"]

SCREENSHOTS = os.environ.get("CAUSAL_OTEL_TEST_SCREENSHOTS", "")
"""A directory for pictures of the pages; empty: none are taken."""

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is Chromium without its windows, profiles and extensions: a page costs a quarter of what it costs there."""
_ARGUMENTS = [
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE = 60.0


class OpenPage(Protocol):
    """Opens a page; ``expected`` are parts of console errors that are no fault, ``width`` is in CSS pixels."""

    def __call__(
        self,
        url: str,
        *,
        theme: Literal["light", "dark"] = "light",
        width: int = 1280,
        javascript: bool = True,
        expected: tuple[str, ...] = (),
    ) -> Page: ...


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The process's browser, which is started when a module first asks for one: that takes a second of a core.

    Playwright's sync API leaves its running event loop in the thread, where async tests of other modules could not
    start theirs. So the loop is there only while a module uses the browser.
    """
    browser, loop = _SHARED[0] if _SHARED else _launched(request.config)
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


_SHARED: list[tuple[Browser, asyncio.AbstractEventLoop]] = []


def _launched(config: pytest.Config) -> tuple[Browser, asyncio.AbstractEventLoop]:
    """Start the browser, which ends with the run."""
    with contextlib.ExitStack() as stack:
        stack.callback(asyncio._set_running_loop, None)
        playwright = stack.enter_context(sync_playwright())
        loop = asyncio.get_running_loop()
        browser = playwright.chromium.launch(executable_path=_executable(playwright), args=_ARGUMENTS)
        stack.callback(browser.close)
        stack.callback(asyncio._set_running_loop, loop)
        config.add_cleanup(stack.pop_all().close)
    _SHARED.append((browser, loop))
    return _SHARED[0]


def _executable(playwright: Playwright) -> str | None:
    """The system's Chromium, or else the one that Playwright has installed; only CI insists on one."""
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None and not Path(playwright.chromium.executable_path).exists():
        reason = (
            "no test of the pages in a browser: there is no chromium (Debian: apt-get install chromium-headless-shell)"
        )
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return executable


@pytest.fixture
def serve() -> Iterator[Callable[[ASGIApp], str]]:
    """Serves applications until the test's pages are closed; see :func:`serving`."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))


@pytest.fixture
def open_page(chromium: Browser, serve: Callable[[ASGIApp], str]) -> Iterator[OpenPage]:
    """Opens pages; the test fails if one logs an error, breaks its CSP, throws, or asks another host."""
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_one(
            url: str,
            *,
            theme: Literal["light", "dark"] = "light",
            width: int = 1280,
            javascript: bool = True,
            expected: tuple[str, ...] = (),
        ) -> Page:
            context = chromium.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=theme,
                java_script_enabled=javascript,
                reduced_motion="reduce",
            )
            stack.callback(context.close)
            context.set_default_timeout(_PATIENCE * 1000)
            origin = "/".join(url.split("/")[:3])

            def on_console(message: ConsoleMessage) -> None:
                # The end of a test stops its server, which cuts the stream that a live page is still reading.
                told = (*expected, "ERR_INCOMPLETE_CHUNKED_ENCODING")
                if message.type in ("error", "warning") and not any(part in message.text for part in told):
                    complaints.append(f"{message.type} in the console: {message.text}")

            def on_request(request: Request) -> None:
                if not request.url.startswith((f"{origin}/", "data:", "blob:")):
                    complaints.append(f"request to elsewhere: {request.url}")

            page = context.new_page()
            page.on("console", on_console)
            page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
            page.on("request", on_request)
            page.goto(url)
            return page

        yield open_one
    assert not complaints, "\n".join(complaints)


def screenshot(page: Page, name: str, *, full: bool = True) -> None:
    """Save what the page looks like as ``<name>.png``, where CAUSAL_OTEL_TEST_SCREENSHOTS names a directory."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=full)


@contextlib.contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Serve ``app`` on loopback from a thread; yields ``http://127.0.0.1:<port>``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=1, **options
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)
            assert not thread.is_alive(), "the server of the pages does not stop"
