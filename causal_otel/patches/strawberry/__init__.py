"""GraphQL served by Strawberry: what an operation is called, and the errors that an answer of 200 tells.

One operation in an HTTP request is that request's: its SERVER span has ``graphql.operation.type`` and
``graphql.operation.name``, and both are in its name, after method and route: ``POST /graphql query Orders``. No other
span is made. That needs the patch ``asgi`` or ``wsgi``, and a request that it traces.

Every other operation is an INTERNAL span of its own, ``query Orders``, current while it runs: one of a batch, one over
a websocket (``graphql-transport-ws``, ``graphql-ws``), a subscription or an incremental result, whatever it comes by,
and one that the application executes itself (``schema.execute()``). That of a subscription lasts until it is over; one
that a client ends while it waits for a result is ``causal.cancelled``.

The type alone is in the name where the operation has no name. Names are the clients', so they are in names of spans for
the first 200 different ones in a process; ``graphql.operation.name`` has them all.

An operation whose result has errors is an error, whatever the status of the response. ``error.type`` is the class of
what the first one's resolver has raised, or GraphQL's for a document that cannot be run
(``graphql.error.graphql_error.GraphQLError``). The first five errors of resolvers are ``exception`` events: what the
resolver has raised, before extensions such as ``MaskErrors`` change it. Of a batch they are on the operation's span,
and the request's is an error as well. What is answered with 400, because it holds no operation or one that may not be
asked for that way, is none. The messages about documents and variables are not recorded: they quote the client's
values. Nor are documents, variables, results, and single fields.

Options: :class:`StrawberryOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from causal_otel import names
from causal_otel.instrument.declaration import Patch, Wrap
from causal_otel.instrument.options import Options
from causal_otel.patches.strawberry.operations import wrap_runner
from causal_otel.patches.strawberry.requests import wrap_parse, wrap_parse_sync, wrap_run, wrap_run_sync
from causal_otel.patches.strawberry.streams import wrap_stream

__all__ = ["PATCH", "StrawberryOptions"]


@dataclass(frozen=True, kw_only=True)
class StrawberryOptions(Options):
    """Options of the strawberry patch.

    The hooks are called for spans of this patch's own, with the span and Strawberry's ``ExecutionContext`` (None for a
    stream of results), and ``response_hook`` with None as well. For an operation that is a request's, those of
    ``asgi`` are.

    Args:
        excluded: names of operations, as the request gives them besides the document (``operationName``), such as
            ``IntrospectionQuery``. Such an operation is not recorded, nor anything inside it; its request is.
    """


PATCH = Patch(
    name="strawberry",
    versions={"strawberry-graphql": ("0.300", "1")},
    distributions={"strawberry": "strawberry-graphql"},
    options=StrawberryOptions,
    targets=(
        Wrap("strawberry.schema.schema", "Schema.create_extensions_runner", wrap_runner),
        Wrap("strawberry.schema.schema", "Schema.stream", wrap_stream, optional=True),  # newer than 0.315
        Wrap("strawberry.schema.schema", "Schema.subscribe", wrap_stream),
        Wrap("strawberry.http.async_base_view", "AsyncBaseHTTPView.run", wrap_run),
        Wrap("strawberry.http.async_base_view", "AsyncBaseHTTPView.parse_http_body", wrap_parse),
        Wrap("strawberry.http.sync_base_view", "SyncBaseHTTPView.run", wrap_run_sync),
        Wrap("strawberry.http.sync_base_view", "SyncBaseHTTPView.parse_http_body", wrap_parse_sync),
    ),
    records=(
        names.GRAPHQL_OPERATION_NAME,
        names.GRAPHQL_OPERATION_TYPE,
        names.ERROR_TYPE,
        names.CAUSAL_CANCELLED,
        names.CAUSAL_ABANDONED,
    ),
    never=(
        "documents, variables, results and single fields",
        "messages about documents and variables, which quote the client's values",
    ),
)
