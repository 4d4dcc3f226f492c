"""OTLP/HTTP: ``POST /v1/traces`` and ``POST /v1/logs``, protobuf or JSON, plain, gzip or deflate.

Metrics are answered with 404, so that exporters do not try again, and with how to switch them off.

Every failure has a ``google.rpc.Status`` as its body, in the request's content type, as OTLP wants it.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from causal_otel.collector.receive import otlp_json
from causal_otel.collector.receive.intake import BODY_LIMIT, Busy
from causal_otel.collector.receive.services import SERVICES, no_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message  # type: ignore[import-untyped]
    from starlette.requests import Request
    from starlette.types import Scope

    from causal_otel.collector.receive.intake import Intake
    from causal_otel.collector.receive.services import Service

__all__ = ["otlp_app", "refusal"]

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}

_UNDER_WAY_LIMIT = 4 * BODY_LIMIT
"""Bytes of bodies that may be held while they arrive, over all requests."""

_DRAIN_LIMIT = 4 * BODY_LIMIT
"""Bytes of a body that is too large which are read and discarded, so that the client reads our answer."""

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    413: Code.INVALID_ARGUMENT,
    415: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    503: Code.UNAVAILABLE,
}


def otlp_app(intake: Intake, routes: Iterable[Route] = ()) -> Starlette:
    """The application that takes OTLP/HTTP, and answers ``routes`` besides."""
    receiver = _Receiver(intake)
    return Starlette(
        routes=[
            *(Route(service.path, partial(receiver.export, service), methods=["POST"]) for service in SERVICES),
            Route("/v1/metrics", receiver.refuse, methods=["POST"]),
            *routes,
        ],
        exception_handlers={HTTPException: _answer_exception, 500: _answer_fault},
    )


def refusal(scope: Scope, status: int, message: str) -> Response:
    """``message`` as a ``google.rpc.Status``, for the HTTP status ``status``."""
    body = Status(code=_CODES.get(status, Code.UNKNOWN), message=message)
    return _response(body, _content_type(Headers(scope=scope)), status)


def _answer_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = refusal(request.scope, error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


def _answer_fault(request: Request, _: Exception) -> Response:
    return refusal(request.scope, 500, "the collector failed; its log has the reason")


class _Receiver:
    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._under_way = 0

    async def export(self, service: Service, request: Request) -> Response:
        content_type = _content_type(request.headers)
        try:
            body = await self._message(service, request, content_type)
        except HTTPException as refused:
            self._intake.count_unread("http", busy=refused.status_code == 429)
            raise
        try:
            kept = await self._intake.put(body, "http", logs=service.logs)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        except Busy as busy:
            raise _later(busy) from None
        return _response(service.answer(kept), content_type, 200)

    async def refuse(self, request: Request) -> Response:
        await self._read(request)
        raise HTTPException(404, no_metrics())

    async def _message(self, service: Service, request: Request, content_type: str) -> bytes:
        """The serialized request that was sent."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if content_type not in (_PROTOBUF, _JSON):
            await self._read(request)
            raise HTTPException(415, f"the content type must be {_PROTOBUF} or {_JSON}, not {content_type or 'absent'}")
        if encoding not in ("identity", *_WINDOW_BITS):
            await self._read(request)
            raise HTTPException(415, f"the content encoding must be gzip, deflate or identity, not {encoding}")
        body = await self._read(request)
        if encoding != "identity" or content_type == _JSON:
            body = await asyncio.to_thread(_serialized, body, encoding, content_type, service)
        return body

    async def _read(self, request: Request) -> bytes:
        """The body as it was sent."""
        body = bytearray()
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size <= BODY_LIMIT and self._under_way <= _UNDER_WAY_LIMIT:
                    body += chunk
                    self._under_way += len(chunk)
                elif size > _DRAIN_LIMIT:
                    break
        finally:
            self._under_way -= len(body)
        if size > BODY_LIMIT:
            raise HTTPException(413, f"the body is larger than {BODY_LIMIT} bytes; send smaller batches")
        if size > len(body):
            raise _later(Busy("too many requests are arriving at once", overloaded=True))
        return bytes(body)


def _later(busy: Busy) -> HTTPException:
    return HTTPException(429 if busy.overloaded else 503, str(busy), {"Retry-After": str(busy.retry_after)})


def _content_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _response(message: Message, content_type: str, status: int) -> Response:
    if content_type == _PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=_PROTOBUF)
    return Response(MessageToJson(message, indent=None), status, media_type=_JSON)


def _serialized(body: bytes, encoding: str, content_type: str, service: Service) -> bytes:
    """A serialized request to a service, of a body as it was sent."""
    if encoding != "identity":
        body = _decompressed(body, encoding)
    if content_type == _PROTOBUF:
        return body
    try:
        message: bytes = otlp_json.read(body, service.data()).SerializeToString()
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    return message


def _decompressed(body: bytes, encoding: str) -> bytes:
    decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = decompressor.decompress(body, BODY_LIMIT + 1)
    except zlib.error as error:
        raise HTTPException(400, f"not {encoding}: {error}") from None
    if len(plain) > BODY_LIMIT:
        raise HTTPException(413, f"the body decompresses to more than {BODY_LIMIT} bytes; send smaller batches")
    if not decompressor.eof or decompressor.unused_data:
        raise HTTPException(400, f"the {encoding} data is cut short or followed by something else")
    return plain
