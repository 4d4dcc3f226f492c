"""OTLP/gRPC: ``TraceService/Export`` and ``LogsService/Export``. Needs the extra ``grpc``.

Metrics are answered with UNIMPLEMENTED, so that exporters do not try again, and with how to switch them off.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from causal_otel.collector.receive.intake import BODY_LIMIT, Busy
from causal_otel.collector.receive.services import SERVICES, no_metrics
from causal_otel.collector.security import TOKEN_HEADER, TOO_MANY, TOO_MANY_SECONDS, shown_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from causal_otel.collector.certificates import Certificate
    from causal_otel.collector.receive.intake import Intake
    from causal_otel.collector.receive.services import Service
    from causal_otel.collector.security import Access

__all__ = ["grpc_server"]

_METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_OPTIONS = (
    ("grpc.max_receive_message_length", BODY_LIMIT),
    ("grpc.max_concurrent_streams", 32),  # of one connection; more wait
    ("grpc.so_reuseport", 0),  # or a second collector would share the port, and get half of the spans
)


def grpc_server(
    intake: Intake, access: Access, *, host: str, port: int, certificate: Certificate | None = None
) -> tuple[grpc.aio.Server, int]:
    """A server, bound and not yet started, and its port. To be called where the event loop runs.

    Args:
        intake: gets the requests.
        access: who may send them.
        host: the address.
        port: the port; 0: a free one.
        certificate: what to serve TLS with; None: no TLS.

    Raises:
        OSError: It cannot listen there.
    """
    server = grpc.aio.server(options=_OPTIONS)
    # Without (de)serializers the messages come and go as bytes.
    receiver = _Receiver(intake, access)
    methods: dict[str, Callable[[bytes, Any], Awaitable[bytes]]] = {
        _METRICS: receiver.refuse,
        **{service.grpc: partial(receiver.export, service) for service in SERVICES},
    }
    server.add_generic_rpc_handlers(
        grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(method)})
        for service, method in methods.items()
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if certificate is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, _credentials(certificate))
    except RuntimeError as error:
        raise OSError(str(error)) from None


def _credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """What gRPC serves TLS with: it asks for the certificate at every new connection."""
    served = certificate.current()

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(served.key, served.chain)])

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        found = certificate.current()
        if found is served:
            return None
        served = found
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), newer)


class _Receiver:
    def __init__(self, intake: Intake, access: Access) -> None:
        self._intake = intake
        self._access = access

    async def _admit(self, context: Any) -> None:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        failed, given = self._access.failed_logins, shown_token(metadata)
        address = _address(context.peer())
        if given and failed.busy(address):
            await _abort_for_now(context, grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY, TOO_MANY_SECONDS)
        if not self._access.admits(metadata):
            if given:
                await failed.failed(address)
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                f"a token is needed: send it as authorization, after the word Bearer, or as {TOKEN_HEADER}",
            )

    async def refuse(self, _: bytes, context: Any) -> bytes:
        await self._admit(context)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, no_metrics())
        return b""

    async def export(self, service: Service, request: bytes, context: Any) -> bytes:
        await self._admit(context)
        try:
            kept = await self._intake.put(request, "grpc", logs=service.logs)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Busy as busy:
            await _abort_for_now(context, grpc.StatusCode.UNAVAILABLE, str(busy), busy.retry_after)
        serialized: bytes = service.answer(kept).SerializeToString()
        return serialized


def _address(peer: str) -> str:
    """The client's address, without the port: ``ipv4:127.0.0.1:4711``, ``ipv6:[::1]:4711``."""
    return peer.partition(":")[2].rpartition(":")[0].strip("[]") or peer


async def _abort_for_now(context: Any, code: grpc.StatusCode, message: str, seconds: int) -> None:
    """Fail a call with when to try again (``RetryInfo``): without it clients give RESOURCE_EXHAUSTED up (OTLP)."""
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=seconds)))
    status = Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, message)
