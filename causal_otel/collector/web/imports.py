"""Traces from an uploaded file, which is not trusted: its size is limited, and it is checked before it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from causal_otel.collector.receive import otlp_json

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    from starlette.types import Message

__all__ = ["FILE_LIMIT", "Refused", "parse", "trace_ids", "uploaded"]

FILE_LIMIT = 32 * 2**20
"""Bytes of a file that are taken."""

_FORM_OVERHEAD = 2**16
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8


class Refused(Exception):
    """What was uploaded is not taken. The message tells the user why.

    Args:
        message: why, and what to do.
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def uploaded(request: Request) -> bytes:
    """The file in the form that ``request`` sends.

    Raises:
        Refused: There is none, it is larger than :data:`FILE_LIMIT`, or it comes from another site.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused("Another site has sent this file; choose it on this page.", 403)
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > FILE_LIMIT + _FORM_OVERHEAD:
            raise _too_large()
        return message

    try:
        async with Request(request.scope, bounded).form(max_files=1, max_fields=4) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                raise Refused("No file was chosen.")
            data = await file.read(FILE_LIMIT + 1)
    except HTTPException as error:
        raise Refused(f"The form cannot be read: {error.detail}.") from None
    except ClientDisconnect:
        raise Refused("The upload was broken off.") from None
    if len(data) > FILE_LIMIT:
        raise _too_large()
    return data


def _too_large() -> Refused:
    return Refused(
        f"The file is larger than {FILE_LIMIT // 2**20} MB. Post it in parts to /v1/traces of the collector.", 413
    )


def parse(data: bytes) -> TracesData:
    """The traces in a file of OTLP JSON.

    Raises:
        Refused: It is none, or holds no spans, or one without a valid id.
    """
    try:
        message = otlp_json.loads(data)
    except ValueError as error:
        raise Refused(f"This file cannot be read: {error}.") from None
    if not trace_ids(message):
        raise Refused("This file has no spans in it. What is needed is OTLP JSON: an object with “resourceSpans”.")
    return message


def trace_ids(message: TracesData) -> list[str]:
    """The traces in ``message`` as hexadecimal ids, each once, in the order they appear.

    Raises:
        Refused: A span has no valid id.
    """
    found: dict[str, None] = {}
    for group in message.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                if len(span.trace_id) != _TRACE_ID_BYTES or len(span.span_id) != _SPAN_ID_BYTES:
                    raise Refused(
                        f"The span {span.name[:80]!r} has no valid id: a trace's has 32 hexadecimal digits, "
                        "a span's 16."
                    )
                if not any(span.trace_id) or not any(span.span_id):
                    raise Refused(f"The span {span.name[:80]!r} has an id of zeros only.")
                found[span.trace_id.hex()] = None
    return list(found)
