"""The options of the patch for aiokafka."""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel.instrument.options import ClientOptions

__all__ = ["AiokafkaOptions"]


@dataclass(frozen=True, kw_only=True)
class AiokafkaOptions(ClientOptions):
    """Options of the aiokafka patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    Of what ``processing()`` traces, hooks are given the consumer or None, a tuple of the messages and an empty dict.

    Args:
        excluded: names of topics, such as ``audit-*``: neither sent, received nor processed in a trace that is
            recorded.
        receive_spans: whether receiving is a span. False: only what ``processing()`` traces is, of a consumer.
    """

    receive_spans: bool = True
