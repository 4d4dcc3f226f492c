"""Settings: what the patches record, and what they leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel._internal.setting_types import (
    BOOLEAN,
    EXCLUDED_NAMES,
    EXCLUDED_URLS,
    HEADER_NAMES,
    INSTRUMENTORS,
    NAMES,
    PATCHES,
    PROXIES,
    RATE,
    SECONDS,
    SECONDS_OR_OFF,
)
from causal_otel.settings.declaration import setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["OperationSettings"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class OperationSettings:
    """What the patches record of operations, and which they leave out."""

    patches: Iterable[str] | Mapping[str, object] | None = setting(
        PATCHES,
        None,
        "Which patches are applied. Default: all. As an argument: see `install()`.",
        "TRACING_PATCHES",
    )
    disabled_patches: tuple[str, ...] = setting(
        NAMES,
        (),
        "Patches that are left out, whatever `patches` says. The variable may name instrumentations of "
        "OpenTelemetry's as well: `fastapi` is our `asgi`, what we have no patch for is ignored, and `*` is all.",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    )
    require_parent: bool = setting(
        BOOLEAN,
        False,
        "`true`: queries, commands and requests that are sent are recorded only inside a span, unless `require_parent` "
        "of a patch's options says otherwise. By default one outside any span is a trace of its own.",
        "TRACING_REQUIRE_PARENT",
    )
    slow_plumbing: float = setting(
        SECONDS,
        0.01,
        "Getting a connection, connecting, `BEGIN`, `COMMIT` and the like are a span where they take longer than this, "
        "though they went well. The option `slow_plumbing` of a patch replaces this for that patch.",
        "TRACING_SLOW_PLUMBING",
    )
    task_edges: bool = setting(
        BOOLEAN,
        True,
        "Spans of a millisecond and more tell in which asyncio task they ran, and which task waited for that one: "
        "`causal.task` and its like.",
        "TRACING_TASK_EDGES",
    )
    cpu_time: bool = setting(
        BOOLEAN,
        True,
        "Requests that are served and tasks tell how long they computed, how long they were ready to run but waited "
        "for their turn, and how long garbage was collected meanwhile: `causal.cpu`, `causal.loop.ready.wait`, "
        "`causal.gc`. The option `cpu_time` of a patch replaces this for the first two, for that patch.",
        "TRACING_CPU_TIME",
    )
    code_origin: bool = setting(
        BOOLEAN,
        False,
        "`true`: queries, commands and requests that are sent tell the line of your own code that issued them: "
        "`causal.code.origin`. The option `code_origin` of a patch replaces this for that patch.",
        "TRACING_CODE_ORIGIN",
    )
    lock_waits: bool = setting(
        BOOLEAN,
        True,
        "`false`: the patch `locks` is left out, which tells what was waited for at locks and queues. See "
        "[Locks and queues](../how-to/waits.md#locks-and-queues).",
        "TRACING_LOCK_WAITS",
    )
    loop_block_threshold: float = setting(
        SECONDS_OR_OFF,
        0.05,
        "A turn of an event loop that takes this long, or longer, is a span `loop blocked`. `0`: none is, and no loop "
        "is watched. The option `loop_block_threshold` of the patch `event_loop` replaces this.",
        "TRACING_LOOP_BLOCK_THRESHOLD",
    )
    profiling: bool = setting(
        BOOLEAN,
        False,
        "`true`: spans say what code ran in their own time: `causal.profile`. See [Profile](../how-to/profile.md).",
        "TRACING_PROFILING",
    )
    profiling_rate: float = setting(
        RATE,
        20.0,
        "With `profiling`: how many times a second the threads are looked at that work for a span.",
        "TRACING_PROFILING_RATE",
    )
    excluded_urls: tuple[str, ...] = setting(
        EXCLUDED_URLS,
        (),
        "URLs of requests, received by FastAPI and Starlette or sent by HTTPX and aiohttp, that are never recorded, "
        "nor anything inside them. The option `excluded` of a patch replaces this for that patch.",
        "TRACING_EXCLUDED_URLS",
    )
    excluded_tasks: tuple[str, ...] = setting(
        EXCLUDED_NAMES,
        (),
        "Task names of Celery and taskiq (`*` allowed) whose sending and execution are never recorded, nor anything "
        "inside.",
        "TRACING_EXCLUDED_TASKS",
    )
    request_headers: tuple[str, ...] = setting(
        HEADER_NAMES,
        (),
        "Headers of received requests that are recorded, as `http.request.header.<name>`. The option of that name of a "
        "patch replaces this for that patch.",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
    )
    response_headers: tuple[str, ...] = setting(
        HEADER_NAMES,
        (),
        "Headers of the responses to them that are recorded, as `http.response.header.<name>`. The option of that name "
        "of a patch replaces this for that patch.",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
    )
    trusted_proxies: tuple[str, ...] = setting(
        PROXIES,
        (),
        "The proxies that are believed when they say whom a request comes from (`Forwarded`, `X-Forwarded-For`) and "
        "what it asked for. The option of that name of a patch replaces this for that patch.",
        "TRACING_TRUSTED_PROXIES",
    )
    instrumentors: tuple[str, ...] = setting(
        INSTRUMENTORS,
        (),
        "OpenTelemetry's instrumentors to apply, for libraries that we have no patch for: `all`, or their names. As an "
        "argument it may be a mapping of name to options. See "
        "[Other libraries](../how-to/other-libraries.md).",
        "TRACING_INSTRUMENTORS",
    )
