"""The GraphQL application of the tests of strawberry, in FastAPI and by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import strawberry
from fastapi import FastAPI
from strawberry.asgi import GraphQL
from strawberry.extensions import MaskErrors
from strawberry.fastapi import GraphQLRouter
from strawberry.schema.config import StrawberryConfig

import causal_otel

__all__ = ["SECRET", "app", "bare", "schema", "sync_schema"]

SECRET = "s3cr3t-value"


class Refused(ValueError):
    """What a resolver raises."""


@strawberry.type
class Query:
    @strawberry.field
    async def hello(self, name: str = "you") -> str:
        with causal_otel.span("greet"):
            await asyncio.sleep(0)
        return f"hello {name}"

    @strawberry.field
    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "at last"

    @strawberry.field
    def broken(self, text: str = "no luck") -> str:
        raise Refused(text)

    @strawberry.field
    def broken_too(self) -> str | None:
        raise LookupError("nothing there")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def order(self, number: int) -> int:
        return number


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int, pause: float = 0.0, fail: bool = False) -> AsyncIterator[int]:
        for number in range(to):
            with causal_otel.span("step"):
                await asyncio.sleep(pause)
            yield number
        if fail:
            raise Refused("no more")


def _masked(**_: Any) -> MaskErrors:  # as every version calls it
    return MaskErrors()


_CONFIG: Any = {"batching_config": {"max_operations": 5}}
schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[_masked],
    config=StrawberryConfig(**_CONFIG),
)
app = FastAPI()
_PROTOCOLS = ["graphql-transport-ws", "multipart-subscription"]
app.include_router(GraphQLRouter(schema, subscription_protocols=_PROTOCOLS), prefix="/graphql")
bare = GraphQL(schema)


@strawberry.type
class SyncQuery:
    @strawberry.field
    def order(self) -> int:
        return 7

    @strawberry.field
    def failing(self) -> int | None:
        raise LookupError("nothing there")


sync_schema = strawberry.Schema(query=SyncQuery)
