"""What a failed call of an OTLP service means: by OTLP's rules, and by the mistakes that people make."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from causal_otel.transports.transport import CREDENTIALS, Outcome, Verdict, without_credentials

__all__ = ["proxy_of", "understood"]

_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
"""The codes after which a request may be sent again (OTLP, "Failures"); RESOURCE_EXHAUSTED only where it says when."""

_SPEAKS_HTTP = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or send to the port for gRPC, which is 4317 by default"
_MISCONFIGURED = {
    "UNAUTHENTICATED": CREDENTIALS,
    "PERMISSION_DENIED": CREDENTIALS,
    "UNIMPLEMENTED": f"no OTLP receiver is at this port: {_SPEAKS_HTTP}",
}
"""Codes that are not about the spans, and what to do."""

_ELSEWHERE = "a proxy or another server is there: check the endpoint"
_TOO_LARGE = "raise its limit for a message, or lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
# What the servers in C, Go and Java say, and what becomes of an HTTP 413.
_SAYS_TOO_LARGE = re.compile(r"larger than (the )?max|exceeds (the )?max|too large|status: 413", re.IGNORECASE)
_PROXY_STATUS = re.compile(r"HTTP proxy returned response code (\d+)")
# An answer that is a failure is known as one; of any other, the fourth letter of "HTTP" is taken for a frame's type.
_HTTP_1 = re.compile(r"http1\.x server|got frame type 80\b")
_HTTP_STATUS = re.compile(r"http2 header with status: (\d+)", re.IGNORECASE)


def understood(error: Any, url: str) -> Outcome:
    """What came of a call.

    Args:
        error: the ``grpc.RpcError``, which is the call as well.
        url: scheme and authority of the service.
    """
    code = error.code().name
    detail = str(error.details() or "")
    wait = _retry_delay(error)
    parts = urlsplit(url)
    if _HTTP_1.search(detail):
        detail = f"port {parts.port or parts.scheme} speaks HTTP/1.1, and was sent gRPC"
        return Outcome(Verdict.MISCONFIGURED, code, detail, advice=_SPEAKS_HTTP)
    if code == "RESOURCE_EXHAUSTED" and wait is None:
        if _SAYS_TOO_LARGE.search(detail):
            return Outcome(Verdict.TOO_LARGE, code, detail, advice=_TOO_LARGE)
        return Outcome(Verdict.REFUSED, code, detail)
    if code in _MISCONFIGURED:
        return Outcome(Verdict.MISCONFIGURED, code, detail, wait, advice=_MISCONFIGURED[code])
    if code == "UNKNOWN" and (status := _HTTP_STATUS.search(detail)):
        if status[1] == "413":
            return Outcome(Verdict.TOO_LARGE, code, detail, advice=_TOO_LARGE)
        return Outcome(Verdict.MISCONFIGURED, code, detail, advice=_ELSEWHERE)
    if wait is not None and (code in _RETRYABLE or code == "RESOURCE_EXHAUSTED"):
        return Outcome(Verdict.BUSY, code, detail, wait)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):  # what gRPC itself says when nobody answers
        return _unreachable(code, detail, proxy_of(parts.hostname or ""))
    return Outcome(Verdict.BUSY if code in _RETRYABLE else Verdict.REFUSED, code, detail)


def _unreachable(code: str, detail: str, proxy: str) -> Outcome:
    if not proxy:
        return Outcome(Verdict.UNREACHABLE, code, detail)
    advice = "check the proxy's address and credentials in grpc_proxy, https_proxy or http_proxy"
    refused = _PROXY_STATUS.search(detail)
    if refused is None:
        return Outcome(Verdict.UNREACHABLE, code, f"{detail} (through the proxy {proxy})", advice=advice)
    verdict = Verdict.MISCONFIGURED if refused[1] < "500" else Verdict.UNREACHABLE
    return Outcome(verdict, code, f"the proxy {proxy} refused the connection: {refused[1]}", advice=advice)


def proxy_of(host: str) -> str:
    """The proxy that gRPC takes from the environment for ``host``, without credentials; empty: none."""
    around = _first_variable("no_grpc_proxy", "no_proxy").split(",")
    if any(host.endswith(suffix.strip()) for suffix in around if suffix.strip()):
        return ""
    return without_credentials(_first_variable("grpc_proxy", "https_proxy", "http_proxy"))


def _first_variable(*names: str) -> str:
    return next(filter(None, map(os.environ.get, names)), "") or ""


def _retry_delay(error: Any) -> float | None:
    """The ``RetryInfo`` among a failure's details, in seconds."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    found = RetryInfo()
    try:
        for key, value in error.trailing_metadata() or ():
            if key == "google.rpc.retryinfo-bin":
                found.ParseFromString(value)
                break
            if key == "grpc-status-details-bin" and any(
                detail.Unpack(found) for detail in Status.FromString(value).details
            ):
                break
        else:
            return None
    except DecodeError:
        return None
    return float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9)
