"""A program that has a secret in every place that a patch reads: ``test_secrets.py`` looks for them outside.

    python -m tests.planted

Servers come from variables: PLANTED_POSTGRES, PLANTED_REDIS, PLANTED_BOLT (a JSON list of URL, user, password and
database) and PLANTED_QUEUE. The logs of ours and of OpenTelemetry go to standard error at every level, as spans do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import causal_otel

__all__ = ["PLANTED", "SECRETS", "card", "jwt", "plant_our_own"]


class _Secrets(dict[str, str]):
    """Secrets by the place where each is, all different: made when first asked for."""

    def __missing__(self, place: str) -> str:
        found = self[place] = f"hunter{len(self):02}{place.replace(' ', '')}"
        return found


SECRETS = _Secrets()


def jwt(place: str) -> str:
    """A token, whose signature is remembered as the secret."""
    return f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.{SECRETS[place]}"


def card(place: str, number: str) -> str:
    """A card's number."""
    SECRETS[place] = number
    return number


@contextlib.contextmanager
def _failing(name: str) -> Iterator[None]:
    """A span of the user's, in which something fails whose message is recorded."""
    with contextlib.suppress(Exception), causal_otel.span(name):
        yield


async def _asyncpg() -> None:
    import asyncpg

    s = SECRETS
    connection = await asyncpg.connect(os.environ["PLANTED_POSTGRES"])
    await connection.execute("CREATE TEMP TABLE planted (email text UNIQUE, n int)")
    await connection.fetch(f"SELECT '{s['SQL literal']}', E'{s['SQL escaped']}', $x${s['SQL dollar quoted']}$x$")
    await connection.fetch(f"SELECT 1 -- {s['SQL comment']}\n /* {s['SQL block comment']} */")
    await connection.fetch(f"SELECT E'x'\n'\\' {s['SQL continued']}', $\u00e9$ ' {s['SQL tag']}$\u00e9$")
    await connection.fetch(f"SELECT 1 /* /* */ ' {s['SQL nested comment']} */")
    await connection.fetch(f"SELECT x.a$q$ , '$q$ {s['SQL dollar name']} ' FROM (SELECT 1 AS a$q$) x")
    await connection.execute("CREATE TEMP TABLE sessions (token text)")
    await connection.fetch("SELECT 1 FROM sessions s JOIN sessions u ON s.token = u.token")
    await connection.fetch("SELECT $1::text", s["SQL parameter"])
    await connection.executemany("INSERT INTO planted VALUES ($1)", [(s["SQL row"],), (s["SQL other row"],)])
    with _failing("unique"):
        await connection.execute("INSERT INTO planted VALUES ($1)", s["SQL row"])
    with _failing("syntax"):
        await connection.execute(f"SELECT '{s['SQL unclosed']}")
    with _failing("argument"):
        await connection.fetch("SELECT $1::int", s["SQL refused argument"])
    with _failing("arguments"):
        await connection.executemany("SELECT $1::int", [(1,), (s["SQL refused row"],)])
    with _failing("invalid"):
        await connection.execute(f"SELECT '{s['SQL cast']}'::int")
    async with connection.transaction():
        cursor = f"ghp_{s['SQL cursor name']}0123456789"
        await connection.execute(f'DECLARE "{cursor}" CURSOR FOR SELECT 1')
        await connection.fetch(f'FETCH 1 FROM "{cursor}"')
        async for _ in connection.cursor("SELECT $1::text", s["SQL cursor parameter"]):
            pass
    await connection.copy_records_to_table("planted", records=[(s["COPY record"], 1)], columns=["email", "n"])
    with _failing("COMMIT"):
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE late (email text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            await connection.executemany("INSERT INTO late VALUES ($1)", [(s["SQL late row"],)] * 2)
    with _failing("prepare"):
        await connection.prepare(f"SELECT '{s['SQL prepared']}' FROM missing")
    await connection.close()
    server = os.environ["PLANTED_POSTGRES"].rpartition("@")[2].partition("/")[0]
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server}/missing")):
        dsn = f"postgresql://postgres:{s[f'{kind} DSN']}@{place}?application_name={s[f'{kind} application']}"
        with _failing("refused connection"):
            await asyncpg.connect(dsn)
        with _failing("refused pool"):
            async with asyncpg.create_pool(dsn, min_size=0) as pool:
                await pool.fetchval("SELECT 1")
    with _failing("connect"):
        dsn = f"postgresql://app:{s['DSN password']}@127.0.0.1:1/shop?password={s['DSN parameter']}"
        raise ConnectionError(f"cannot connect to {dsn}")


async def _sqlalchemy() -> None:
    """On psycopg, sqlite3 and asyncpg: statements, errors of constraints and of syntax, and servers that refuse."""
    import sqlalchemy
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    s = SECRETS
    server = os.environ["PLANTED_POSTGRES"].partition("://")[2]
    for url in (f"postgresql+psycopg://{server}", "sqlite://"):
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(text("CREATE TEMP TABLE planted (email text UNIQUE)"))
            connection.execute(text(f"SELECT '{s['literal of ' + url]}' -- {s['comment of ' + url]}"))
            values = [{"email": s["row of " + url]}, {"email": s["other row of " + url]}]
            connection.execute(text("INSERT INTO planted VALUES (:email)"), values)
            connection.commit()
            with _failing("SQLAlchemy: unique"):
                connection.execute(text("INSERT INTO planted VALUES (:email)"), values[0])
            connection.rollback()
            with _failing("SQLAlchemy: syntax"):
                connection.execute(text(f"SELECT '{s['unclosed of ' + url]}"))
        engine.dispose()
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server.rpartition('@')[2]}_missing")):
        login = f"postgres:{s[f'{kind} password of an engine']}@{place}"
        query = f"?application_name={s[f'{kind} application of an engine']}"
        with _failing(f"SQLAlchemy: {kind}"):
            sqlalchemy.create_engine(f"postgresql+psycopg://{login}{query}").connect()
        with _failing(f"SQLAlchemy: {kind}, asyncio"):
            async with create_async_engine(f"postgresql+asyncpg://{login}").connect():
                pass
    asynchronous = create_async_engine(f"postgresql+asyncpg://{server}")
    async with asynchronous.connect() as session:
        await session.execute(text(f"SELECT '{s['async literal']}', :n"), {"n": s["async parameter"]})
        async with session.stream(text("SELECT :n"), {"n": s["stream parameter"]}) as rows:
            assert [row async for row in rows]
        with _failing("SQLAlchemy: argument, asyncio"):
            await session.execute(text("SELECT CAST(:n AS int)"), {"n": s["async refused parameter"]})
        await session.rollback()
        with _failing("SQLAlchemy: cast, asyncio"):
            await session.execute(text(f"SELECT CAST('{s['async cast']}' AS int)"))
    await asynchronous.dispose()


async def _redis() -> None:
    import redis.asyncio

    await _commands(redis)


async def _valkey() -> None:
    import valkey.asyncio

    await _commands(valkey)


async def _commands(redis: Any) -> None:
    """Use a client of Redis.

    Args:
        redis: its package.
    """
    s = SECRETS
    client: Any
    async with redis.asyncio.from_url(os.environ["PLANTED_REDIS"]) as client:
        await client.set(s["Redis key"], s["Redis value"])
        await client.hset("h", mapping={s["Redis field"]: s["Redis field value"]})
        await client.eval(f"return '{s['Redis script']}'", 0)
        script = client.register_script(f"return '{s['Redis registered script']}'")
        await script(keys=[s["Redis script key"]], args=[s["Redis script argument"]])
        with _failing("script"):
            await client.eval(f"return redis.call('{s['Redis failing script']}')", 0, s["Redis failing argument"])
        with _failing("AUTH"):
            await client.execute_command("AUTH", s["Redis user"], s["Redis password"])
        with _failing("HELLO"):
            await client.execute_command("HELLO", 3, "AUTH", s["Redis HELLO user"], s["Redis HELLO password"])
        await client.acl_setuser("planted", passwords=[f"+{s['Redis ACL password']}"])
        await client.acl_deluser("planted")
        await client.client_setname(s["Redis client name"])
        async with client.lock(s["Redis lock"], timeout=60):
            await client.publish(s["Redis published channel"], s["Redis message"])
        with _failing("unknown"):
            await client.execute_command("NOSUCH", s["Redis unknown argument"])
        with contextlib.suppress(redis.ResponseError):
            await client.execute_command(s["Redis command"])
        async with client.pipeline() as pipeline:
            await pipeline.set("a", s["Redis pipeline"]).get("a").execute()
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.set(s["Redis pipeline key"], "x").lpush("a", s["Redis failing pipeline"])
            pipeline.execute_command(s["Redis pipeline command"], s["Redis pipeline argument"])
            pipeline.eval(f"return '{s['Redis pipeline script']}'", 0)
            await pipeline.execute(raise_on_error=False)
            pipeline.lpush("a", s["Redis raising pipeline"])
            with _failing("pipeline"):
                await pipeline.execute()
    server = os.environ["PLANTED_REDIS"].rpartition("//")[2]
    for user in ("", s["Redis URL user"]):
        login = f"redis://{user}:{s[f'Redis URL password {bool(user)}']}@{server}"
        with _failing("Redis: login"):
            async with redis.asyncio.from_url(login) as client:
                await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis URL password']}@127.0.0.1:1/0") as client:
            await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis pubsub password']}@127.0.0.1:1/0") as client:
            await client.pubsub().subscribe(s["Redis channel"])


async def _neo4j() -> None:
    import neo4j

    s = SECRETS
    url, user, password, database = json.loads(os.environ["PLANTED_BOLT"])
    async with neo4j.AsyncGraphDatabase.driver(url, auth=(user, password)) as driver:
        async with driver.session(database=database) as session:
            await (await session.run(f"RETURN '{s['Cypher literal']}' AS a // {s['Cypher comment']}")).consume()
            await (await session.run(f"RETURN {{password: '{s['Cypher map']}', n: 1}} AS m")).consume()
            await (await session.run("RETURN $p AS p", p=s["Cypher parameter"])).consume()
            for kind, query in (
                ("parameter", "RETURN toInteger([$p]) AS n"),
                ("date", "RETURN date($p) AS n"),
                ("zone", "RETURN datetime({year: 2026, timezone: $p}) AS n"),
                ("pattern", "RETURN 'a' =~ $p AS n"),
                ("map", "CREATE (n:Planted {a: {b: $p}})"),
            ):
                with _failing(f"Cypher {kind}"):
                    await (await session.run(query, p=f"({s[f'Cypher failing {kind}']}")).consume()

            async def work(transaction: Any) -> None:
                await (await transaction.run("RETURN $p AS p", {"p": s["Cypher managed parameter"]})).consume()

            await session.execute_write(neo4j.unit_of_work(metadata={"by": s["transaction metadata"]})(work))
            with _failing("Cypher transaction"):
                async with await session.begin_transaction(metadata={"by": s["explicit metadata"]}) as transaction:
                    await transaction.run(f"MATCH (n {{a: '{s['Cypher unclosed']}", p=s["Cypher explicit parameter"])
            with _failing("Cypher"):
                await (await session.run(f"RETURN toInteger('{s['Cypher failing literal']}'")).consume()
        await driver.execute_query("RETURN $p AS p", p={"token": s["Cypher map parameter"]}, database_=database)
    SECRETS["graph password"] = password
    async with neo4j.AsyncGraphDatabase.driver(url, auth=(user, s["graph wrong password"])) as driver:
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.verify_connectivity(database=database)
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.execute_query("RETURN 1 AS n", database_=database)


async def _http() -> None:
    import httpx
    from opentelemetry import baggage
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from causal_otel.engine.context import attach
    from tests.patches.http_server import serve

    s = SECRETS

    async def echo(request: Request) -> Response:
        return JSONResponse({"baggage": request.headers.get("baggage")})

    async def boom(request: Request) -> Response:
        raise RuntimeError(f"Authorization: Bearer {s['exception bearer']} {{'api_key': '{s['exception key']}'}}")

    async def answered(request: Request) -> Response:
        try:
            raise RuntimeError(f"Authorization: Bearer {s['answered exception']}")
        except RuntimeError as error:
            raise HTTPException(503, f"password={s['answer']}") from error

    async def work(password: str) -> None:
        raise RuntimeError(f"password={password}")

    async def background(request: Request) -> Response:
        return Response(background=BackgroundTask(work, s["background argument"]))

    app = Starlette(
        routes=[
            *(Route("/echo", echo), Route("/boom", boom), Route("/of/{token}", echo)),
            *(Route("/answered", answered), Route("/background", background)),
        ]
    )
    headers = {
        "Authorization": f"Bearer {s['HTTP bearer']}",
        "Cookie": f"session={s['HTTP cookie']}",
        "X-Api-Key": s["HTTP header"],
        "User-Agent": f"client/1 (Bearer {s['HTTP user agent']})",
        "Referer": f"http://h/?token={s['HTTP referer']}",
        "tracestate": f"vendor=token:{s['HTTP tracestate']}",
        "baggage": f"user-token={s['baggage incoming']}, bro ken={s['baggage malformed']}",
    }
    with serve(app) as url:
        port = url.rpartition(":")[2]
        async with httpx.AsyncClient(base_url=url, trust_env=False, headers=headers) as client:
            await client.get(
                f"/echo?access_token={s['URL token']}&sig={s['URL signature']}&page=2#id_token={s['URL part']}"
            )
            await client.get(f"http://{s['URL user']}:{s['URL password']}@127.0.0.1:{port}/echo")
            await client.get("/echo", auth=(s["HTTP user"], s["HTTP password"]))
            await client.get(f"/of/{jwt('path token')}")
            await client.get(f"/of/{card('path card', '4539578763621486')}")
            await client.get(f"/echo?q={card('query card', '5425233430109903')}")
            await client.post("/echo", json={"password": s["HTTP body"]})
            await client.get("/answered")
            for failing in ("/boom", "/background"):
                with contextlib.suppress(Exception):
                    await client.get(failing)
            with _failing("refused"):
                await client.get(f"http://:{s['URL refused']}@127.0.0.1:1/")
        activation = attach(baggage.set_baggage("tenant", s["baggage outgoing"]))
        with causal_otel.span("to strangers"):
            async with httpx.AsyncClient(trust_env=False) as client:
                allowed = (await client.get(f"http://127.0.0.1:{port}/echo")).json()["baggage"]
                denied = (await client.get(f"http://localhost:{port}/echo")).json()["baggage"]
        activation.end()
        assert allowed == f"tenant={s['baggage outgoing']}"
        assert denied is None


def _wsgi() -> None:
    from causal_otel import WsgiMiddleware
    from tests.patches.wsgi_app import make_environ

    s = SECRETS

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Sorry", [("Set-Cookie", f"session={s['WSGI answered cookie']}")])
        raise RuntimeError(f"Authorization: Bearer {s['WSGI exception']} password={s['WSGI exception key']}")

    headers = {
        "HTTP_AUTHORIZATION": f"Bearer {s['WSGI bearer']}",
        "HTTP_COOKIE": f"session={s['WSGI cookie']}",
        "HTTP_X_API_KEY": s["WSGI header"],
        "HTTP_USER_AGENT": f"client/1 (Bearer {s['WSGI user agent']})",
        "HTTP_TRACESTATE": f"vendor=token:{s['WSGI tracestate']}",
        "HTTP_BAGGAGE": f"user-token={s['WSGI baggage']}",
        "REMOTE_USER": s["WSGI user"],
    }
    path = f"/of/{jwt('WSGI path')}?access_token={s['WSGI token']}&page=2"
    with contextlib.suppress(RuntimeError):
        WsgiMiddleware(app)(make_environ(path, **headers), lambda *_: None)


def plant_our_own() -> None:
    from opentelemetry import baggage, trace

    from causal_otel.engine.context import attach

    s = SECRETS

    class Quoting:
        def __str__(self) -> str:
            raise ValueError(f"secret={s['failing text']}")

    key = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"
    activation = attach(baggage.set_baggage("auth-token", s["baggage attribute"]))
    with causal_otel.span(f"job --token {s['span name']}", {"db.password": s["attribute key"]}) as span:
        span.set_attribute("header.authorization", [s["list attribute"]])
        span.set_attribute("dsn", f"amqp://app:{s['attribute DSN']}@queue//")
        span.set_attribute("json", json.dumps({"a": [{"clientSecret": s["attribute JSON"]}]}))
        span.set_attribute("pem", key.format(s["attribute PEM"]))
        span.set_attribute("card", int(card("attribute card", "4716059374713389")))
        span.set_attribute("aws", f"key AKIA{'0123456789ABCDEF'}")
        span.set_attribute("broken", Quoting())  # type: ignore[arg-type]
        span.set_attributes({f"baggage.{name}": str(value) for name, value in baggage.get_all().items()})
        span.add_event(f"password={s['event name']}", {"token": s["event attribute"], "jwt": jwt("event token")})
        span.add_link(trace.INVALID_SPAN_CONTEXT, {"cookie": s["link attribute"]})
        span.set_status(trace.StatusCode.ERROR, f"secret: {s['status description']}")
        SECRETS["AWS key"] = "0123456789ABCDEF"
    activation.end()
    with _failing("chained"):
        try:
            raise ValueError(f"pwd={s['exception cause']}")
        except ValueError as error:
            raise RuntimeError(f"api-key: {s['exception message']}") from error


def _celery() -> None:
    from tests.patches.celery_app import add, app, fail

    s = SECRETS
    queue = os.environ["PLANTED_QUEUE"]
    app.conf.update(broker_url=os.environ["PLANTED_REDIS"], result_backend=os.environ["PLANTED_REDIS"])
    results = [
        add.apply_async((s["task argument"], "x"), queue=queue, headers={"api-key": s["task header"]}),
        add.apply_async(kwargs={"x": "x", "y": s["task keyword"]}, queue=queue),
        fail.apply_async((f"cannot connect to redis://:{s['task exception']}@cache/0",), queue=queue),
    ]
    for result in results:
        with contextlib.suppress(ValueError):
            result.get(timeout=30)


async def _strawberry() -> None:
    import strawberry

    s = SECRETS

    class Query:
        @strawberry.field
        def broken(self, text: str, number: int = 1) -> str:
            raise ValueError(f"api_key={text}")

    class Schema(strawberry.Schema):
        def process_errors(self, errors: Any, execution_context: Any = None) -> None:
            """Log nothing: Strawberry would, as they are."""

    schema = Schema(query=strawberry.type(Query))
    for document in (
        f'query A {{ broken(text: "{s["GraphQL literal"]}") }}',
        f'query A {{ broken(text: "", number: "{s["GraphQL wrong literal"]}") }}',
        f'query A {{ broken(text: "{s["GraphQL unclosed"]} }}',
        f"query A {{ {s['GraphQL field']} }}",
    ):
        await schema.execute(document)
    document = "query A($text: String!, $number: Int) { broken(text: $text, number: $number) }"
    await schema.execute(document, {"text": s["GraphQL variable"], "number": s["GraphQL wrong variable"]})
    with contextlib.suppress(Exception):
        await schema.execute(document, {"text": s["GraphQL text"]}, operation_name=f"-{s['GraphQL operation']}")
    schema.execute_sync(document, {"text": s["GraphQL sync"]})


PLANTED: dict[str, Callable[[], Awaitable[None] | None]] = {
    "asyncpg": _asyncpg,
    "redis": _redis,
    "valkey": _valkey,
    "neo4j": _neo4j,
    "asgi": _http,
    "httpx": _http,
    "celery": _celery,
    "sqlalchemy": _sqlalchemy,
    "strawberry": _strawberry,
    "wsgi": _wsgi,
}
"""By patch, what plants secrets in all that it reads."""


async def _main() -> None:
    with causal_otel.span("planted"):
        for plant in dict.fromkeys(PLANTED.values()):
            with causal_otel.span(plant.__name__):
                planting = plant()
                if planting is not None:
                    await planting


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stderr)
    for logger in ("causal_otel", "opentelemetry"):
        logging.getLogger(logger).addHandler(handler)
        logging.getLogger(logger).setLevel(logging.DEBUG)
    installed = causal_otel.install(console=True, baggage_hosts=["127.0.0.1"], service_name="planted")
    asyncio.run(_main())
    plant_our_own()
    flushed = installed.flush(20)
    print(causal_otel.status(), file=sys.stderr)
    print(json.dumps([flushed, SECRETS, dict(causal_otel.status().redacted)]))
