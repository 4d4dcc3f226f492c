"""What OpenTelemetry calls its instrumentations of what a patch of ours with another name traces."""

from __future__ import annotations

__all__ = ["OTHERS_NAMES"]

OTHERS_NAMES = {
    "fastapi": "asgi",
    "grpc_aio_client": "grpc",  # not grpc_client and grpc_server, which trace gRPC without asyncio
    "grpc_aio_server": "grpc",
    "httpx2": "httpx",
    "starlette": "asgi",
    "threading": "threads",
}
"""Names of our patches, by those of OpenTelemetry's instrumentations. Our ``wsgi`` takes the place of none."""
