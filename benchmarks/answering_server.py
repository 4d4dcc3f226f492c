"""A server that answers whatever it is asked with ``{}``: what a service calls, and where tracers export to.

    python -m benchmarks.answering_server PORT

It costs little, since it shares a core with the client that measures. ``GET /received`` tells how many bytes each other
path has been sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

_received: Counter[str] = Counter()


class _Answering(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._path = ""
        self._missing = 0  # bytes of a body
        self._chunked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Read a head or a piece of a body; whether there is more to do."""
        if self._chunked:
            end = self._buffer.find(b"0\r\n\r\n")
            if end < 0:
                return False
            return self._over(end + 5)
        if self._missing:
            if len(self._buffer) < self._missing:
                return False
            return self._over(self._missing)
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].decode("latin-1").lower()
        del self._buffer[: end + 4]
        lines = head.split("\r\n")
        self._path = lines[0].split(" ")[1]
        length = next((line[15:].strip() for line in lines if line.startswith("content-length:")), "0")
        self._missing, self._chunked = int(length), any(line.startswith("transfer-encoding:") for line in lines)
        return bool(self._missing or self._chunked) or self._over(0)

    def _over(self, length: int) -> bool:
        """The request is complete, with a body of so many bytes."""
        del self._buffer[:length]
        _received[self._path] += length
        self._missing, self._chunked = 0, False
        body = json.dumps(_received).encode() if self._path == "/received" else b"{}"
        if self._path == "/v1/traces":
            body = b""  # an ExportTraceServiceResponse without anything in it
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        return bool(self._buffer)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
