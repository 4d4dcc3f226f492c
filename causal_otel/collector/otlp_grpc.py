"""OTLP/gRPC: ``TraceService/Export``. Needs the extra ``grpc``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from causal_otel.collector.intake import BODY_LIMIT, Busy
from causal_otel.collector.security import TOKEN_HEADER

if TYPE_CHECKING:
    from causal_otel.collector.intake import Intake
    from causal_otel.collector.security import Access

__all__ = ["grpc_server"]

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_OPTIONS = (
    ("grpc.max_receive_message_length", BODY_LIMIT),
    ("grpc.max_concurrent_streams", 32),  # of one connection; more wait
    ("grpc.so_reuseport", 0),  # or a second collector would share the port, and get half of the spans
)


def grpc_server(
    intake: Intake, access: Access, *, host: str, port: int, tls: tuple[bytes, bytes] | None
) -> tuple[grpc.aio.Server, int]:
    """A server, bound and not yet started, and its port. To be called where the event loop runs.

    Args:
        intake: gets the requests.
        access: who may send them.
        host: the address.
        port: the port; 0: a free one.
        tls: private key and certificate chain, PEM; None: no TLS.

    Raises:
        OSError: It cannot listen there.
    """
    server = grpc.aio.server(options=_OPTIONS)
    # Without (de)serializers the messages come and go as bytes.
    export = grpc.unary_unary_rpc_method_handler(_Receiver(intake, access).export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": export}),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise OSError(str(error)) from None


class _Receiver:
    def __init__(self, intake: Intake, access: Access) -> None:
        self._intake = intake
        self._access = access

    async def export(self, request: bytes, context: Any) -> bytes:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        if not self._access.admits(metadata):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                f"a token is needed: send it as authorization, after the word Bearer, or as {TOKEN_HEADER}",
            )
        try:
            kept = await self._intake.put(request, "grpc")
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Busy as busy:
            context.set_trailing_metadata((("grpc-status-details-bin", _retry(busy)),))
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(busy))
        answer = ExportTraceServiceResponse()
        if kept.rejected or kept.message:
            answer.partial_success.rejected_spans = kept.rejected
            answer.partial_success.error_message = kept.message
        serialized: bytes = answer.SerializeToString()
        return serialized


def _retry(busy: Busy) -> bytes:
    """The details of a failure that say when to try again."""
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=busy.retry_after)))
    code: int = grpc.StatusCode.UNAVAILABLE.value[0]
    status: bytes = Status(code=code, message=str(busy), details=[detail]).SerializeToString()
    return status
