"""aiokafka: messages that are sent to Kafka, received from it and processed, in one trace across processes.

* Sending, ``send orders`` (PRODUCER): ``send()`` and ``send_and_wait()``. The span lasts until the broker has
  acknowledged the message, also where nobody waits for that, and tells its partition and offset; a delivery that fails
  is an ERROR. The message's headers carry the trace context (W3C, unless propagators are set) and baggage; the
  caller's list stays as it is. Outside of any span, a trace that the given headers carry goes on. A batch of
  ``send_batch()`` is one CLIENT span; its messages carry what was current when each was appended.
* Receiving, ``receive orders`` (CLIENT): ``getone()``, ``getmany()`` and ``async for``, each time that messages came.
  The span has a link to each sending. It begins when the first of them was sent, or when the call began if that was
  later: a consumer that waits for hours has no span of that. A poll that gives nothing is none, nor is one that is
  cancelled or stopped. ``receive_spans=False`` turns them off.
* Processing, ``process orders`` (CONSUMER): what you do with a message, the driver does not see. So it is a block::

      from causal_otel.patches.aiokafka import processing

      async for message in consumer:
          with processing(message, consumer):
              await handle(message)

  Its span is a child of the sending and current inside. A list of messages is one span with a link to each.

Connecting, joining a group (``start``), commits and transactions are spans only if they fail or are slow. What aiokafka
does in the background, and your rebalance listeners, run in no trace. Not traced: the admin client.

Attributes are the conventions', ``messaging.*`` and ``server.*`` (where there is one bootstrap server), and:

* ``causal.discovery`` and ``causal.lock.wait``: sending waited for the topic's metadata, and for a place in a full
  buffer
* ``causal.server``: from when the message was in the buffer until it was acknowledged; lingering and retries are part
  of it
* ``causal.queue.wait``: seconds from when the message was sent until it was asked for, or processed, by two machines'
  clocks; of several messages, of the oldest

Metrics: ``messaging.client.operation.duration`` of sending and receiving, ``messaging.process.duration``, and
``causal.queue.wait`` of processing.
"""

from __future__ import annotations

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel.instrument.declaration import Connect, Patch
from causal_otel.metrics.conventions import MESSAGING_CLIENT, MESSAGING_PROCESS
from causal_otel.patches.aiokafka import background, receiving, sending
from causal_otel.patches.aiokafka.options import AiokafkaOptions
from causal_otel.patches.aiokafka.processing import enable_processing, processing

__all__ = ["PATCH", "AiokafkaOptions", "processing"]

PATCH = Patch(
    name="aiokafka",
    versions={"aiokafka": ("0.12", "1")},
    options=AiokafkaOptions,
    targets=(
        *sending.TARGETS,
        *receiving.TARGETS,
        *background.TARGETS,
        Connect("aiokafka", enable_processing),
    ),
    records=(
        *(names.MESSAGING_SYSTEM, names.MESSAGING_OPERATION_NAME, names.MESSAGING_OPERATION_TYPE),
        *(names.MESSAGING_DESTINATION_NAME, names.MESSAGING_DESTINATION_PARTITION_ID, names.MESSAGING_KAFKA_OFFSET),
        *(names.MESSAGING_KAFKA_MESSAGE_TOMBSTONE, names.MESSAGING_BATCH_MESSAGE_COUNT),
        *(names.MESSAGING_CONSUMER_GROUP_NAME, names.MESSAGING_CLIENT_ID),
        *(names.SERVER_ADDRESS, names.SERVER_PORT, names.ERROR_TYPE),
        *(names.CAUSAL_DISCOVERY, names.CAUSAL_LOCK_WAIT, names.CAUSAL_SERVER, names.CAUSAL_QUEUE_WAIT),
        *(names.CAUSAL_CANCELLED, names.CAUSAL_ABANDONED),
    ),
    never=("keys, values and headers of messages", "credentials of SASL"),
    metrics={
        SpanKind.PRODUCER: MESSAGING_CLIENT,
        SpanKind.CLIENT: MESSAGING_CLIENT,
        SpanKind.CONSUMER: MESSAGING_PROCESS,
    },
)
