"""The options that the patches of HTTP servers' sides share."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from causal_otel._internal.setting_types import BOOLEAN, HEADER_NAMES, PROXIES, TEXT
from causal_otel.instrument.options import Options
from causal_otel.names import HTTP_REQUEST_HEADER, HTTP_RESPONSE_HEADER
from causal_otel.patches._http_server.captured_headers import CapturedHeaders
from causal_otel.patches._http_server.client_address import TrustedProxies

__all__ = ["HttpServerOptions"]


@dataclass(frozen=True, kw_only=True)
class HttpServerOptions(Options):
    """The options of a patch for the server's side of HTTP: what each does is said where the patch's are.

    What is made of them is made once, and is None where they are empty, so that a request pays for one look.
    ``cpu_time`` says whether a request tells how long it computed, and waited for its turn; None: what the setting
    ``cpu_time`` says, which is True by default.
    """

    by_url = True

    trace_id_header: str | None = "X-Trace-Id"
    traceresponse: bool = True
    request_headers: tuple[str, ...] | None = None
    response_headers: tuple[str, ...] | None = None
    trusted_proxies: tuple[str, ...] | None = None
    cpu_time: bool | None = None

    def mistake(self) -> str | None:
        """What is not allowed in them, and what would be."""
        if not (self.trace_id_header is None or (TEXT.accepts(self.trace_id_header) and self.trace_id_header)):
            return f"trace_id_header={self.trace_id_header!r} is not allowed; it must be the name of a header, or None"
        for name, kind in (
            ("traceresponse", BOOLEAN),
            ("request_headers", HEADER_NAMES),
            ("response_headers", HEADER_NAMES),
            ("trusted_proxies", PROXIES),
            ("cpu_time", BOOLEAN),
        ):
            given = getattr(self, name)
            try:
                allowed = given is None or kind.accepts(given)
            except (TypeError, ValueError, AttributeError):
                allowed = False
            if not allowed:
                return f"{name}={given!r} is not allowed; it must be {kind.allowed}"
        return None

    @functools.cached_property
    def captured_request(self) -> CapturedHeaders | None:
        """Which headers of requests are recorded."""
        return CapturedHeaders(self.request_headers, HTTP_REQUEST_HEADER) if self.request_headers else None

    @functools.cached_property
    def captured_response(self) -> CapturedHeaders | None:
        """Which headers of responses are recorded."""
        return CapturedHeaders(self.response_headers, HTTP_RESPONSE_HEADER) if self.response_headers else None

    @functools.cached_property
    def proxies(self) -> TrustedProxies | None:
        """The proxies that are believed."""
        return TrustedProxies(self.trusted_proxies) if self.trusted_proxies else None
