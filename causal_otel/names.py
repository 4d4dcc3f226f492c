"""Every attribute and metric name in use: those of OpenTelemetry's conventions (v1.44), and ours.

Ours begin with ``causal.``, or with ``celery.`` for tasks. Each constant is called as its value is, in capitals; within
a section they are sorted. Redis, Neo4j and messaging have no stable convention yet; theirs are as the current one says.

Names that only the collector reads, because older instrumentations wrote them, stand where it reads them. The types of
ASGI messages (``http.request``) look like attributes and are none.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# -- resources --------------------------------------------------------------------------------------------------------

DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
HOST_ID: Final = "host.id"
HOST_NAME: Final = "host.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"

# -- databases --------------------------------------------------------------------------------------------------------

DB_CLIENT_CONNECTION_COUNT: Final = "db.client.connection.count"
DB_CLIENT_CONNECTION_CREATE_TIME: Final = "db.client.connection.create_time"
DB_CLIENT_CONNECTION_PENDING_REQUESTS: Final = "db.client.connection.pending_requests"
DB_CLIENT_CONNECTION_POOL_NAME: Final = "db.client.connection.pool.name"
DB_CLIENT_CONNECTION_STATE: Final = "db.client.connection.state"
DB_CLIENT_CONNECTION_TIMEOUTS: Final = "db.client.connection.timeouts"
DB_CLIENT_CONNECTION_USE_TIME: Final = "db.client.connection.use_time"
DB_CLIENT_CONNECTION_WAIT_TIME: Final = "db.client.connection.wait_time"
DB_CLIENT_OPERATION_DURATION: Final = "db.client.operation.duration"
DB_CLIENT_RESPONSE_RETURNED_ROWS: Final = "db.client.response.returned_rows"
DB_COLLECTION_NAME: Final = "db.collection.name"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_QUERY_PARAMETER: Final = "db.query.parameter"  # then a dot, and the parameter's name or position
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_QUERY_TEXT: Final = "db.query.text"
DB_RESPONSE_RETURNED_ROWS: Final = "db.response.returned_rows"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"
DB_STORED_PROCEDURE_NAME: Final = "db.stored_procedure.name"
DB_SYSTEM_NAME: Final = "db.system.name"

# -- log records ------------------------------------------------------------------------------------------------------

CODE_FILE_PATH: Final = "code.file.path"
CODE_FUNCTION_NAME: Final = "code.function.name"
CODE_LINE_NUMBER: Final = "code.line.number"

# -- errors -----------------------------------------------------------------------------------------------------------

ERROR_TYPE: Final = "error.type"
EXCEPTION_ESCAPED: Final = "exception.escaped"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
EXCEPTION_TYPE: Final = "exception.type"

# -- HTTP -------------------------------------------------------------------------------------------------------------

HTTP_CLIENT_REQUEST_DURATION: Final = "http.client.request.duration"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_REQUEST_HEADER: Final = "http.request.header"  # then a dot, and the header's name in lower case
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_BODY_SIZE: Final = "http.response.body.size"
HTTP_RESPONSE_HEADER: Final = "http.response.header"  # likewise
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
HTTP_SERVER_ACTIVE_REQUESTS: Final = "http.server.active_requests"
HTTP_SERVER_REQUEST_DURATION: Final = "http.server.request.duration"
URL_FULL: Final = "url.full"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
URL_SCHEME: Final = "url.scheme"
URL_TEMPLATE: Final = "url.template"
USER_AGENT_ORIGINAL: Final = "user_agent.original"

# -- GraphQL ----------------------------------------------------------------------------------------------------------

GRAPHQL_OPERATION_NAME: Final = "graphql.operation.name"
GRAPHQL_OPERATION_TYPE: Final = "graphql.operation.type"

# -- messaging --------------------------------------------------------------------------------------------------------

MESSAGING_CLIENT_OPERATION_DURATION: Final = "messaging.client.operation.duration"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_MESSAGE_CONVERSATION_ID: Final = "messaging.message.conversation_id"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_PROCESS_DURATION: Final = "messaging.process.duration"
MESSAGING_SYSTEM: Final = "messaging.system"

# -- network ----------------------------------------------------------------------------------------------------------

CLIENT_ADDRESS: Final = "client.address"
NETWORK_PEER_ADDRESS: Final = "network.peer.address"
NETWORK_PEER_PORT: Final = "network.peer.port"
NETWORK_PROTOCOL_NAME: Final = "network.protocol.name"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# -- other systems that a span may talk to ----------------------------------------------------------------------------

GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
RPC_SYSTEM_NAME: Final = "rpc.system.name"

# -- the SDK's metrics about itself -----------------------------------------------------------------------------------

OTEL_COMPONENT_NAME: Final = "otel.component.name"
OTEL_COMPONENT_TYPE: Final = "otel.component.type"
OTEL_METRIC_OVERFLOW: Final = "otel.metric.overflow"
OTEL_SDK_EXPORTER_OPERATION_DURATION: Final = "otel.sdk.exporter.operation.duration"
OTEL_SDK_EXPORTER_SPAN_EXPORTED: Final = "otel.sdk.exporter.span.exported"
OTEL_SDK_EXPORTER_SPAN_INFLIGHT: Final = "otel.sdk.exporter.span.inflight"
OTEL_SDK_PROCESSOR_SPAN_PROCESSED: Final = "otel.sdk.processor.span.processed"
OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY: Final = "otel.sdk.processor.span.queue.capacity"
OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE: Final = "otel.sdk.processor.span.queue.size"
OTEL_SDK_SPAN_LIVE: Final = "otel.sdk.span.live"
OTEL_SDK_SPAN_STARTED: Final = "otel.sdk.span.started"
OTEL_SPAN_PARENT_ORIGIN: Final = "otel.span.parent.origin"
OTEL_SPAN_SAMPLING_RESULT: Final = "otel.span.sampling_result"

# -- what a back end writes as tags, because its form of a span has no field for it (OpenTelemetry to Jaeger) ----------

OTEL_SCOPE_NAME: Final = "otel.scope.name"
OTEL_SCOPE_VERSION: Final = "otel.scope.version"
OTEL_STATUS_CODE: Final = "otel.status_code"
OTEL_STATUS_DESCRIPTION: Final = "otel.status_description"
SPAN_KIND: Final = "span.kind"
W3C_TRACESTATE: Final = "w3c.tracestate"

# -- ours: attributes of spans and links ------------------------------------------------------------------------------

CAUSAL_ABANDONED: Final = "causal.abandoned"
"""Whether nobody waited for the end: a stream or a result was dropped before it was read."""
CAUSAL_ATTEMPTS: Final = "causal.attempts"
"""How many times the driver tried: where it tried more than once, and of each managed transaction of Neo4j."""
CAUSAL_BYTES_RECEIVED: Final = "causal.bytes.received"
"""Bytes of the messages that came over a websocket."""
CAUSAL_BYTES_SENT: Final = "causal.bytes.sent"
"""Bytes of the messages that were sent over a websocket, or of the chunks of a streamed response."""
CAUSAL_CANCELLED: Final = "causal.cancelled"
"""Whether the operation was cancelled, which is no error."""
CAUSAL_CONNECT: Final = "causal.connect"
"""Seconds that making a connection took: name lookup, TCP, TLS and the login together."""
CAUSAL_CONNECT_DNS: Final = "causal.connect.dns"
"""Seconds of ``causal.connect`` in which a name was looked up."""
CAUSAL_CONNECT_PROXY: Final = "causal.connect.proxy"
"""Seconds of ``causal.connect`` in which a proxy was asked for a tunnel: CONNECT, or the greeting of SOCKS."""
CAUSAL_CONNECT_TLS: Final = "causal.connect.tls"
"""Seconds of ``causal.connect`` in which TLS was negotiated."""
CAUSAL_DISCOVERY: Final = "causal.discovery"
"""Seconds in which the client asked which server to talk to: a cluster, Sentinel, a routing table."""
CAUSAL_FETCH: Final = "causal.fetch"
"""Seconds that the program waited for records or chunks after the call had returned."""
CAUSAL_FIRST_BYTE: Final = "causal.first_byte"
"""Seconds from a request's arrival until the application gave the beginning of its response to the server."""
CAUSAL_LINK: Final = "causal.link"
"""What a link means: ``detached``, to the span whose context the new trace was started in, or the role of an edge
between tasks of Celery, as told in :mod:`causal_otel.patches.celery.edges`."""
CAUSAL_LOCK_ACQUIRED: Final = "causal.lock.acquired"
"""Whether a lock in Redis was had; False: waiting for it was given up."""
CAUSAL_LOCK_WAIT: Final = "causal.lock.wait"
"""Seconds until a lock in Redis was had, or waiting for it was given up."""
CAUSAL_LOOP_BLOCKED: Final = "causal.loop.blocked"
"""Seconds in which the event loop ran something else without a pause."""
CAUSAL_MESSAGES_RECEIVED: Final = "causal.messages.received"
"""How many messages came over a websocket."""
CAUSAL_MESSAGES_SENT: Final = "causal.messages.sent"
"""How many messages were sent over a websocket, or chunks of a streamed response."""
CAUSAL_NEO4J_CONSTRAINTS_ADDED: Final = "causal.neo4j.constraints_added"
"""How many constraints a query has created, if any."""
CAUSAL_NEO4J_CONSTRAINTS_REMOVED: Final = "causal.neo4j.constraints_removed"
"""How many constraints a query has dropped, if any."""
CAUSAL_NEO4J_INDEXES_ADDED: Final = "causal.neo4j.indexes_added"
"""How many indexes a query has created, if any."""
CAUSAL_NEO4J_INDEXES_REMOVED: Final = "causal.neo4j.indexes_removed"
"""How many indexes a query has dropped, if any."""
CAUSAL_NEO4J_LABELS_ADDED: Final = "causal.neo4j.labels_added"
"""How many labels a query has given to nodes, if any."""
CAUSAL_NEO4J_LABELS_REMOVED: Final = "causal.neo4j.labels_removed"
"""How many labels a query has taken from nodes, if any."""
CAUSAL_NEO4J_NODES_CREATED: Final = "causal.neo4j.nodes_created"
"""How many nodes a query has created, if any."""
CAUSAL_NEO4J_NODES_DELETED: Final = "causal.neo4j.nodes_deleted"
"""How many nodes a query has deleted, if any."""
CAUSAL_NEO4J_NOTIFICATIONS: Final = "causal.neo4j.notifications"
"""The codes of what the server found odd in a query."""
CAUSAL_NEO4J_PROPERTIES_SET: Final = "causal.neo4j.properties_set"
"""How many properties a query has set, if any."""
CAUSAL_NEO4J_QUERY_TYPE: Final = "causal.neo4j.query_type"
"""``r``, ``w``, ``rw`` or ``s``: whether a query has read, written, both, or changed the schema."""
CAUSAL_NEO4J_RELATIONSHIPS_CREATED: Final = "causal.neo4j.relationships_created"
"""How many relationships a query has created, if any."""
CAUSAL_NEO4J_RELATIONSHIPS_DELETED: Final = "causal.neo4j.relationships_deleted"
"""How many relationships a query has deleted, if any."""
CAUSAL_NEO4J_SYSTEM_UPDATES: Final = "causal.neo4j.system_updates"
"""How many changes of the system database a query has made, if any."""
CAUSAL_OPEN: Final = "causal.open"
"""Whether a span stands for nothing but a time in which its parent, a connection, was open."""
CAUSAL_ORM_ORIGIN: Final = "causal.orm.origin"
"""What made an ORM issue a statement: the relationship that was loaded, or the entity that was queried."""
CAUSAL_POOL_SETUP: Final = "causal.pool.setup"
"""Seconds of the pool's own hooks, which prepare a connection before it is handed out or after it is given back."""
CAUSAL_POOL_SIZE: Final = "causal.pool.size"
"""How many connections the pool may have."""
CAUSAL_POOL_WAIT: Final = "causal.pool.wait"
"""Seconds until a pool had a free connection."""
CAUSAL_POOL_WAITING: Final = "causal.pool.waiting"
"""How many others waited for a connection of the pool when this wait began."""
CAUSAL_PREFETCH_WAIT: Final = "causal.prefetch.wait"
"""Seconds of ``causal.queue.wait`` after a worker had received the task: it held it, and was busy."""
CAUSAL_QUERY_TRUNCATED: Final = "causal.query.truncated"
"""Whether ``db.query.text`` is the beginning of a longer statement."""
CAUSAL_QUEUE_WAIT: Final = "causal.queue.wait"
"""Seconds from when a task could run (it was sent, or its eta) until it did, by the clocks of two machines."""
CAUSAL_RECEIVE: Final = "causal.receive"
"""Seconds that an application waited for the body of a request, before it began to answer."""
CAUSAL_RETRY_WAIT: Final = "causal.retry.wait"
"""Seconds that the driver paused between two attempts."""
CAUSAL_ROUND_TRIPS: Final = "causal.round_trips"
"""How many times a cursor asked the server for rows."""
CAUSAL_SEND: Final = "causal.send"
"""Seconds that an application waited until the server took what it sent: the client reads slowly."""
CAUSAL_SERVER: Final = "causal.server"
"""Seconds that the server worked."""
CAUSAL_THREADPOOL_WAIT: Final = "causal.threadpool.wait"
"""Seconds until a thread of a pool was free: on a job's first span, before that began; on a request's, inside it."""
CAUSAL_TRANSACTION_ROLLED_BACK: Final = "causal.transaction.rolled_back"
"""The event of a transaction that was rolled back, or of a ``MULTI`` that a changed key undid."""
CAUSAL_WEBSOCKET_CLOSED_BY: Final = "causal.websocket.closed_by"
"""Who has closed a websocket: ``server`` or ``client``."""
CAUSAL_WEBSOCKET_CLOSE_CODE: Final = "causal.websocket.close_code"
"""The code with which a websocket was closed (RFC 6455)."""
CELERY_TASK_ETA: Final = "celery.task.eta"
"""When a task is to run at the earliest."""
CELERY_TASK_NAME: Final = "celery.task.name"
"""A task's registered name."""
CELERY_TASK_REDELIVERED: Final = "celery.task.redelivered"
"""Whether the broker delivers the message again."""
CELERY_TASK_REJECT_REQUEUE: Final = "celery.task.reject.requeue"
"""Whether a task that rejects its message asks the broker to deliver it again."""
CELERY_TASK_RETRIES: Final = "celery.task.retries"
"""How many times a task was retried before."""
CELERY_TASK_RETRY_ETA: Final = "celery.task.retry.eta"
"""When a task asks to be retried at the earliest."""
CELERY_TASK_RETRY_REASON: Final = "celery.task.retry.reason"
"""Why a task asks to be retried: the exception's class, or what it says if there is none."""
CELERY_TASK_REVOKE_REASON: Final = "celery.task.revoke.reason"
"""Why a task was revoked, in Celery's word: ``revoked`` or ``expired`` before it began, ``terminated`` while it ran."""
CELERY_TASK_STATE: Final = "celery.task.state"
"""How the execution of a task ended, in Celery's word."""
CELERY_WORKER_NAME: Final = "celery.worker.name"
"""The node name of the worker that executes a task, such as ``celery@host``."""

# -- ours: metrics of tasks -------------------------------------------------------------------------------------------

CAUSAL_CELERY_ATTEMPTS: Final = "causal.celery.attempts"
"""Attempts at tasks that have ended, by their state."""
CAUSAL_CELERY_PREFETCH_WAIT: Final = "causal.celery.prefetch.wait"
"""Seconds that a worker which had received a task held it, as ``causal.prefetch.wait`` says of one attempt."""
CAUSAL_CELERY_QUEUE_WAIT: Final = "causal.celery.queue.wait"
"""Seconds from when a task could run until it did, as ``causal.queue.wait`` says of one attempt."""
TASKIQ_TASK_NAME: Final = "taskiq.task.name"
"""A task's registered name."""
TASKIQ_TASK_RETRIES: Final = "taskiq.task.retries"
"""How many times a task was retried before."""
TASKIQ_TASK_RETRY_REASON: Final = "taskiq.task.retry.reason"
"""Why a task is sent once more: the exception's class."""

# -- ours: metrics of the export --------------------------------------------------------------------------------------

CAUSAL_EXPORTER_LAST_SUCCESS_TIMESTAMP: Final = "causal.exporter.last_success_timestamp"
"""When the back end last accepted something: Unix time in seconds."""
CAUSAL_EXPORTER_SPAN_RECOVERED: Final = "causal.exporter.span.recovered"
"""Spans sent from the spool."""
CAUSAL_EXPORTER_SPAN_SPOOLED: Final = "causal.exporter.span.spooled"
"""Spans put into the spool."""
CAUSAL_EXPORTER_SPOOL_DAMAGED: Final = "causal.exporter.spool.damaged"
"""Batches in the spool that were unfit to be sent."""
CAUSAL_EXPORTER_SPOOL_SIZE: Final = "causal.exporter.spool.size"
"""Bytes in the spool."""
