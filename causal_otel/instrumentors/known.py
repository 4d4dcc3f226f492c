"""OpenTelemetry's instrumentors: which of them we apply, and when.

The table is all there is to read, beside that of those that ours replace. An instrumentor is known by its distribution,
``requests`` standing for ``opentelemetry-instrumentation-requests``, because that is what somebody has published, and
not by its entry point, which any package may offer.
"""

from __future__ import annotations

from typing import NamedTuple

from causal_otel.configuration.others_names import REPLACED, short
from causal_otel.instrument.registry import BUILT_IN

__all__ = ["KNOWN", "Known", "by_module", "replaced_by_ours"]


class Known(NamedTuple):
    """An instrumentor that may be applied.

    Args:
        modules: it is applied when one of these is imported; nothing of it is imported before.
        unasked: why ``"all"`` leaves it out, so that it must be named; empty: it does not.
        beside: the patch of ours that traces the same where the application has a line for it: with that patch chosen
            ``"all"`` leaves it out, too.
        variable: what must be in the environment when it is applied, or it would break the application.
    """

    modules: tuple[str, ...]
    unasked: str = ""
    beside: str = ""
    variable: str = ""


KNOWN: dict[str, Known] = {
    # HTTP clients
    "requests": Known(("requests",)),
    "urllib": Known(("urllib.request",)),
    "urllib3": Known(("urllib3",)),
    "aiohttp-client": Known(("aiohttp",)),
    # Databases and caches
    "aiopg": Known(("aiopg",)),
    "cassandra": Known(("cassandra",)),
    "elasticsearch": Known(("elasticsearch",)),
    "mysql": Known(("mysql.connector",)),
    "mysqlclient": Known(("MySQLdb",)),
    "psycopg": Known(("psycopg",)),
    "psycopg2": Known(("psycopg2",)),
    "pymemcache": Known(("pymemcache",)),
    "pymongo": Known(("pymongo",)),
    "pymssql": Known(("pymssql",)),
    "pymysql": Known(("pymysql",)),
    "sqlite3": Known(("sqlite3",), unasked="its connections are proxies, which Connection.backup() refuses"),
    "tortoiseorm": Known(("tortoise",), unasked="the driver below it makes a span of each statement as well"),
    # Messages and remote calls
    "aio-pika": Known(("aio_pika",)),
    "aiokafka": Known(("aiokafka",)),
    "boto3sqs": Known(("boto3",), unasked="the instrumentor of botocore makes a span of each call as well"),
    "botocore": Known(("botocore",)),
    "confluent-kafka": Known(("confluent_kafka",)),
    "grpc": Known(("grpc",)),
    "kafka-python": Known(("kafka",)),
    "pika": Known(("pika",)),
    "remoulade": Known(("remoulade",)),
    # Language models
    "google-genai": Known(("google.genai",)),
    "openai-agents-v2": Known(("agents",)),
    "openai-v2": Known(("openai",)),
    "vertexai": Known(("vertexai",)),
    # Web frameworks
    "aiohttp-server": Known(("aiohttp.web",)),
    "django": Known(("django.core.handlers.base",), beside="wsgi", variable="DJANGO_SETTINGS_MODULE"),
    "falcon": Known(("falcon",), beside="wsgi"),
    "flask": Known(("flask",), beside="wsgi"),
    "pyramid": Known(("pyramid",), beside="wsgi"),
    "tornado": Known(("tornado",)),
    # What else there is
    "asyncclick": Known(("asyncclick",), unasked="a server that is started by a command would be one span"),
    "asyncio": Known(("asyncio",), unasked="it wraps every task, for variables that say what it records"),
    "aws-lambda": Known((), unasked="it wraps the handler of a function, which it must be able to import"),
    "click": Known(("click",), unasked="a server that is started by a command would be one span"),
    "exceptions": Known((), unasked="it makes log records"),
    "jinja2": Known(("jinja2",)),
    "structlog": Known(("structlog",), unasked="it makes log records"),
    "system-metrics": Known((), unasked="it makes metrics of the process"),
}
"""By distribution, without what all their names begin with."""


def replaced_by_ours(name: str) -> str | None:
    """What of ours takes the place of an instrumentor; None: nothing does.

    Args:
        name: its entry point, such as ``grpc_aio_client``, or its distribution, with what all their names begin with or
            without: ``opentelemetry-instrumentation-redis``, ``redis``. Case, ``-`` and ``_`` do not matter.

    Returns:
        The name of a patch that there is; or ``"logs"``, the setting.
    """
    ours = REPLACED.get(short(name))
    return ours if ours == "logs" or ours in BUILT_IN else None


def by_module() -> dict[str, str]:
    """The distribution's short name by the module that it waits for."""
    return {module: name for name, known in KNOWN.items() for module in known.modules}
