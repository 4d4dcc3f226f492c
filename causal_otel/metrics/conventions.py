"""The instruments that the semantic conventions (1.44) have for what the patches do.

Their attributes are the required, conditionally required and recommended ones that the patches know. An attribute with
a value for each operation, such as a query's text, is not among them: each value would be a time series of its own.
"""

from __future__ import annotations

from causal_otel import names
from causal_otel.instrument.measured import Instrument, Measured

__all__ = [
    "CELERY_PROCESS",
    "DATABASE_CLIENT",
    "HTTP_CLIENT",
    "HTTP_SERVER",
    "MESSAGING_CLIENT",
    "MESSAGING_PROCESS",
    "RPC_CLIENT",
    "RPC_SERVER",
]

_DATABASE = (
    names.DB_SYSTEM_NAME,
    names.DB_NAMESPACE,
    names.DB_COLLECTION_NAME,
    names.DB_OPERATION_NAME,
    names.DB_QUERY_SUMMARY,
    names.DB_STORED_PROCEDURE_NAME,
    names.ERROR_TYPE,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
)
# A server may choose the database, and a node of a cluster is known when it has answered.
_DATABASE_LEARNED = (names.DB_NAMESPACE, names.DB_RESPONSE_STATUS_CODE, names.SERVER_ADDRESS, names.SERVER_PORT)
_SECONDS_HTTP = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_MESSAGING = (
    names.MESSAGING_SYSTEM,
    names.MESSAGING_OPERATION_NAME,
    names.ERROR_TYPE,
    names.SERVER_ADDRESS,
    names.SERVER_PORT,
    names.CELERY_TASK_NAME,  # no convention's; but most queues are called "celery"
    names.TASKIQ_TASK_NAME,  # likewise "taskiq"
)
_WAITED = (*(name for name in _MESSAGING if name != names.ERROR_TYPE), names.MESSAGING_DESTINATION_NAME)
_SECONDS_WAITED = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

DATABASE_CLIENT = Measured(
    Instrument(
        names.DB_CLIENT_OPERATION_DURATION,
        "s",
        "Duration of database client operations.",
        _DATABASE,
        learned=_DATABASE_LEARNED,
        boundaries=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
    ),
    rows=Instrument(
        names.DB_CLIENT_RESPONSE_RETURNED_ROWS,
        "{row}",
        "The actual number of records returned by the database operation.",
        _DATABASE,
        learned=_DATABASE_LEARNED,
        boundaries=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
    ),
)
"""Of an operation of a database's client."""

HTTP_SERVER = Measured(
    Instrument(
        names.HTTP_SERVER_REQUEST_DURATION,
        "s",
        "Duration of HTTP server requests.",
        (
            names.HTTP_REQUEST_METHOD,
            names.URL_SCHEME,
            names.ERROR_TYPE,
            names.NETWORK_PROTOCOL_VERSION,
        ),
        learned=(names.HTTP_ROUTE, names.HTTP_RESPONSE_STATUS_CODE),
        boundaries=_SECONDS_HTTP,
    ),
    active=Instrument(
        names.HTTP_SERVER_ACTIVE_REQUESTS,
        "{request}",
        "Number of active HTTP server requests.",
        (names.HTTP_REQUEST_METHOD, names.URL_SCHEME),
    ),
)
"""Of a request that is served."""

HTTP_CLIENT = Measured(
    Instrument(
        names.HTTP_CLIENT_REQUEST_DURATION,
        "s",
        "Duration of HTTP client requests.",
        (
            names.HTTP_REQUEST_METHOD,
            names.SERVER_ADDRESS,
            names.SERVER_PORT,
            names.ERROR_TYPE,
        ),
        learned=(names.HTTP_RESPONSE_STATUS_CODE, names.NETWORK_PROTOCOL_VERSION),
        boundaries=_SECONDS_HTTP,
    )
)
"""Of a request on the wire."""

_RPC = (names.RPC_SYSTEM_NAME, names.RPC_METHOD, names.SERVER_ADDRESS, names.SERVER_PORT, names.ERROR_TYPE)

RPC_CLIENT = Measured(
    Instrument(
        names.RPC_CLIENT_CALL_DURATION,
        "s",
        "Measures the duration of an outgoing Remote Procedure Call (RPC).",
        _RPC,
        learned=(names.RPC_RESPONSE_STATUS_CODE,),
        boundaries=_SECONDS_HTTP,
    )
)
"""Of a call of another service's method."""

RPC_SERVER = Measured(
    Instrument(
        names.RPC_SERVER_CALL_DURATION,
        "s",
        "Measures the duration of an incoming Remote Procedure Call (RPC).",
        _RPC,
        learned=(names.RPC_RESPONSE_STATUS_CODE,),
        boundaries=_SECONDS_HTTP,
    )
)
"""Of a call that is served."""

MESSAGING_CLIENT = Measured(
    Instrument(
        names.MESSAGING_CLIENT_OPERATION_DURATION,
        "s",
        "Duration of messaging operation initiated by a producer or consumer client.",
        (*_MESSAGING, names.MESSAGING_OPERATION_TYPE, names.MESSAGING_DESTINATION_NAME),
        learned=(names.MESSAGING_DESTINATION_NAME,),
        boundaries=_SECONDS_HTTP,
    )
)
"""Of a message that is sent."""

_PROCESS_DURATION = Instrument(
    names.MESSAGING_PROCESS_DURATION,
    "s",
    "Duration of processing operation.",
    (*_MESSAGING, names.MESSAGING_DESTINATION_NAME),
    boundaries=_SECONDS_HTTP,
)

# No convention's, from here on: they have none for these.
MESSAGING_PROCESS = Measured(
    _PROCESS_DURATION,
    noted={
        names.CAUSAL_QUEUE_WAIT: Instrument(
            names.CAUSAL_QUEUE_WAIT,
            "s",
            "Duration from when a message could be processed until it was.",
            _WAITED,
            boundaries=_SECONDS_WAITED,
        ),
    },
)
"""Of a message that is processed."""

CELERY_PROCESS = Measured(
    _PROCESS_DURATION,
    counted=Instrument(
        names.CAUSAL_CELERY_ATTEMPTS,
        "{attempt}",
        "The number of attempts at tasks that have ended.",
        (names.CELERY_TASK_NAME, names.MESSAGING_DESTINATION_NAME, names.CELERY_TASK_STATE),
        learned=(names.CELERY_TASK_STATE,),
        monotonic=True,
    ),
    noted={
        names.CAUSAL_QUEUE_WAIT: Instrument(
            names.CAUSAL_CELERY_QUEUE_WAIT,
            "s",
            "Duration from when a task could be executed until it was.",
            _WAITED,
            boundaries=_SECONDS_WAITED,
        ),
        names.CAUSAL_PREFETCH_WAIT: Instrument(
            names.CAUSAL_CELERY_PREFETCH_WAIT,
            "s",
            "Duration for which a worker that had received a task held it: the part of it after it was due.",
            _WAITED,
            boundaries=_SECONDS_WAITED,
        ),
    },
)
"""Of an attempt at a task of Celery's."""
