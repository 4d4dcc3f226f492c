"""The body of a request and the response to it: how many bytes they are, and how long the application waited for them.

All the rest of a request's time is the application's, and what that waited for elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.names import (
    CAUSAL_CPU,
    CAUSAL_FIRST_BYTE,
    CAUSAL_RECEIVE,
    CAUSAL_SEND,
    CAUSAL_THREADPOOL_WAIT,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_RESPONSE_BODY_SIZE,
)

if TYPE_CHECKING:
    from causal_otel.patches.asgi.protocol import Message

__all__ = ["LEAST", "Bodies"]

LEAST = 1_000_000
"""Nanoseconds from which on a part is recorded: see :mod:`causal_otel.instrument.parts`."""


class Bodies:
    """What is counted of the messages of one request; times in nanoseconds of the monotonic clock."""

    __slots__ = ("_bytes_in", "_bytes_out", "_first_byte", "_receiving", "_sending", "_whole")

    def __init__(self) -> None:
        self._bytes_in = 0
        self._bytes_out = 0
        self._first_byte = 0  # when the response began; 0: it has not
        self._receiving = 0
        self._sending = 0
        self._whole = False  # the body of the request is there

    def _count_received(self, message: Message) -> None:
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
            self._whole = not message.get("more_body")

    def _add_received(self, waited: int) -> None:
        """The application has waited for a message.

        Only what it waits for the body is a part of its time. Once it has that, it is told by a message when the
        client leaves; and beside its response it may listen for that, whether it has read the body or not.
        """
        if not (self._whole or self._first_byte):
            self._receiving += waited

    def _add_sizes(self, attributes: dict[str, Any], headers: Any, *, has_body: bool) -> None:
        """Add how many bytes there were to ``attributes``, where there were any.

        Args:
            attributes: those of the span.
            headers: of the response, for the length of a file that the server sends itself.
            has_body: whether the response may have a body, as one to HEAD has not.
        """
        if self._bytes_in and self._whole:
            attributes[HTTP_REQUEST_BODY_SIZE] = self._bytes_in
        if has_body:
            size = _content_length(headers) if self._bytes_out < 0 else self._bytes_out
            if size:
                attributes[HTTP_RESPONSE_BODY_SIZE] = size

    def _add_parts(
        self, attributes: dict[str, Any], began: int, ended: int, computed: int = 0, for_threads: int = 0
    ) -> None:
        """Add the parts of the span's time to ``attributes``.

        Args:
            attributes: those of the span.
            began: when the request arrived.
            ended: when it was over.
            computed: how long its threads have computed.
            for_threads: how long it has waited for threads.
        """
        left = ended - began
        if left < LEAST:
            return
        for key, waited in (
            (CAUSAL_RECEIVE, self._receiving),
            (CAUSAL_THREADPOOL_WAIT, for_threads),
            (CAUSAL_SEND, self._sending),
        ):
            # The end may be when the client left, which the application learned later; and a middleware may have one
            # task make the response, and wait for a thread, while another one sends it.
            waited = min(waited, left)
            if waited >= LEAST:
                attributes[key] = waited / 1e9
                left -= waited
        if (computed := min(computed, ended - began)) >= LEAST:
            attributes[CAUSAL_CPU] = computed / 1e9
        if self._first_byte and ended - self._first_byte >= LEAST:
            attributes[CAUSAL_FIRST_BYTE] = (self._first_byte - began) / 1e9


def _content_length(headers: Any) -> int:
    """What a response's headers say of its length; 0: nothing."""
    if isinstance(headers, list | tuple):
        for name, value in headers:
            if name.lower() == b"content-length" and value.isdigit():
                return int(value)
    return 0
