"""What an HTTP answer to an export means, as OTLP and the mistakes that people make have it."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

from causal_otel._internal.printable import printable
from causal_otel.transports.transport import CREDENTIALS, Outcome, Verdict, partial_success, seconds_to_wait

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "understood"]

_RETRYABLE = frozenset({429, 502, 503, 504})
"""The statuses after which a request may be sent again; after any other failure it must not (OTLP, "Failures")."""

_MISCONFIGURED = {
    401: CREDENTIALS,
    403: CREDENTIALS,
    404: "no OTLP receiver is at this path: OTEL_EXPORTER_OTLP_ENDPOINT gets /v1/traces appended, "
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is",
    405: "what is at this path is no OTLP receiver: check the endpoint",
    407: "give the proxy's credentials in HTTPS_PROXY or HTTP_PROXY, or name the host in NO_PROXY",
}
"""Statuses that are not about the spans, and what to do. OTLP has them refused for good, which loses all that ends
while a token is rotated."""

_TOO_LARGE = "raise its limit for a request, or lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_SAYS_TOO_LARGE = re.compile(r"\b(body|request|message|payload|entity)\b.{0,40}\btoo (large|big)\b", re.IGNORECASE)
_SAYS_TLS = re.compile(r"\bHTTP request\b.{0,20}\bHTTPS\b", re.IGNORECASE)

_PROTOBUF = ("application/x-protobuf", "application/protobuf")
_JSON = "application/json"
_DETAIL_CHARACTERS = 300
_PLAIN_BYTES = 1024 * 1024


class Answer(NamedTuple):
    """An answer, as far as it has come."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    """Whether that is all of the body."""


def understood(answer: Answer, proxy: str) -> Outcome:
    """What an answer means.

    Args:
        answer: of whoever has answered.
        proxy: the URL of the proxy in between, without credentials; empty: there is none.
    """
    status = answer.status
    outcome = _accepted(answer) if 200 <= status < 300 else _redirected(answer) if status < 400 else _failed(answer)
    if outcome.verdict is Verdict.DELIVERED:
        return outcome
    if status == 407:
        return outcome._replace(detail=f"the proxy{proxy and ' '}{proxy} refused: {outcome.detail}")
    return outcome._replace(detail=f"{outcome.detail} (through the proxy {proxy})") if proxy else outcome


def _accepted(answer: Answer) -> Outcome:
    media, body = _media(answer), _plain(answer)
    found: tuple[int, str] | None = None
    if not answer.body and answer.complete:
        found = 0, ""  # the empty message, whatever its type is called
    elif media in (*_PROTOBUF, _JSON, "") and body is None:
        found = 0, ""  # cut short: what it would have said nobody knows, but the status is there
    elif body is not None and media in (*_PROTOBUF, ""):
        found = partial_success(body)
    if found is None and body is not None and media in (_JSON, ""):
        found = _json_partial_success(body)
    if found is None:
        detail = f"the answer is {media or 'of no type'} and no answer of OTLP, so the spans do not count as delivered"
        advice = "a login page, a proxy or another server may be there: check the endpoint and the credentials"
        return Outcome(Verdict.MISCONFIGURED, str(answer.status), detail, advice=advice)
    rejected, detail = found
    return Outcome(Verdict.DELIVERED, "rejected" if rejected else "", detail, rejected=rejected)


def _redirected(answer: Answer) -> Outcome:
    parts = urlsplit(answer.headers.get("location", ""))
    target = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return Outcome(
        Verdict.MISCONFIGURED,
        str(answer.status),
        f"a redirect to {target!r}",
        advice="set that as the endpoint if it is right; if it is a login page, check the credentials",
    )


def _failed(answer: Answer) -> Outcome:
    status, kind = answer.status, str(answer.status)
    detail = _explanation(answer) or answer.reason
    if status in _RETRYABLE:
        return Outcome(Verdict.BUSY, kind, detail, seconds_to_wait(answer.headers.get("retry-after")))
    if status in _MISCONFIGURED:
        wait = seconds_to_wait(answer.headers.get("retry-after"))
        return Outcome(Verdict.MISCONFIGURED, kind, detail, wait, advice=_MISCONFIGURED[status])
    if status == 413 or (status == 400 and _SAYS_TOO_LARGE.search(detail)):
        return Outcome(Verdict.TOO_LARGE, kind, detail, advice=_TOO_LARGE)
    if status == 400 and _SAYS_TLS.search(detail):
        return Outcome(Verdict.MISCONFIGURED, kind, detail, advice="begin the endpoint with https://")
    return Outcome(Verdict.REFUSED, kind, detail)


def _media(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _plain(answer: Answer) -> bytes | None:
    """The body, decompressed; None: not all of it is there, or nobody knows how it is encoded."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if not answer.complete:
        return None
    if not answer.body or encoding in ("", "identity"):
        return answer.body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(answer.body, _PLAIN_BYTES)
    except zlib.error:
        return None


def _json_partial_success(body: bytes) -> tuple[int, str] | None:
    """What :func:`partial_success` reads, from an answer in JSON."""
    try:
        message = json.loads(body)
        partial = message.get("partialSuccess") or {}
        rejected = partial.get("rejectedSpans") or partial.get("rejectedLogRecords") or 0
        return max(0, int(rejected)), str(partial.get("errorMessage") or "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _explanation(answer: Answer) -> str:
    """What a failure's body says: a ``google.rpc.Status`` (OTLP), or text."""
    body = _plain(answer) or b""
    text = body.decode("utf-8", "replace")
    if _media(answer) in _PROTOBUF:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

        try:
            text = cast("str", Status.FromString(body).message)
        except DecodeError:
            return ""
    return " ".join(printable(text[:_DETAIL_CHARACTERS]).split())
