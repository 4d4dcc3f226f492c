"""Secrets in all that the patches of databases read."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from tests.planted_secrets import SECRETS, failing

__all__ = ["plant_asyncpg", "plant_neo4j", "plant_psycopg", "plant_redis", "plant_sqlalchemy", "plant_valkey"]


async def plant_asyncpg() -> None:
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
    with failing("unique"):
        await connection.execute("INSERT INTO planted VALUES ($1)", s["SQL row"])
    with failing("syntax"):
        await connection.execute(f"SELECT '{s['SQL unclosed']}")
    with failing("argument"):
        await connection.fetch("SELECT $1::int", s["SQL refused argument"])
    with failing("arguments"):
        await connection.executemany("SELECT $1::int", [(1,), (s["SQL refused row"],)])
    with failing("invalid"):
        await connection.execute(f"SELECT '{s['SQL cast']}'::int")
    async with connection.transaction():
        cursor = f"ghp_{s['SQL cursor name']}0123456789"
        await connection.execute(f'DECLARE "{cursor}" CURSOR FOR SELECT 1')
        await connection.fetch(f'FETCH 1 FROM "{cursor}"')
        async for _ in connection.cursor("SELECT $1::text", s["SQL cursor parameter"]):
            pass
    await connection.copy_records_to_table("planted", records=[(s["COPY record"], 1)], columns=["email", "n"])
    with failing("COMMIT"):
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE late (email text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            await connection.executemany("INSERT INTO late VALUES ($1)", [(s["SQL late row"],)] * 2)
    with failing("prepare"):
        await connection.prepare(f"SELECT '{s['SQL prepared']}' FROM missing")
    await connection.close()
    server = os.environ["PLANTED_POSTGRES"].rpartition("@")[2].partition("/")[0]
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server}/missing")):
        dsn = f"postgresql://postgres:{s[f'{kind} DSN']}@{place}?application_name={s[f'{kind} application']}"
        with failing("refused connection"):
            await asyncpg.connect(dsn)
        with failing("refused pool"):
            async with asyncpg.create_pool(dsn, min_size=0) as pool:
                await pool.fetchval("SELECT 1")
    with failing("connect"):
        dsn = f"postgresql://app:{s['DSN password']}@127.0.0.1:1/shop?password={s['DSN parameter']}"
        raise ConnectionError(f"cannot connect to {dsn}")


async def plant_psycopg() -> None:
    import psycopg
    import psycopg_pool
    from psycopg import sql

    s = SECRETS
    connection = await psycopg.AsyncConnection.connect(os.environ["PLANTED_POSTGRES"], autocommit=True)
    await connection.execute("CREATE TEMP TABLE planted (email text UNIQUE, n int)")
    await connection.execute(
        f"SELECT '{s['psycopg literal']}', %s -- {s['psycopg comment']}", (s["psycopg parameter"],)
    )
    await connection.execute(f"SELECT '{s['psycopg bytes']}'".encode())
    await connection.execute(sql.SQL("SELECT {}, 1").format(sql.Literal(s["psycopg composed"])))
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO planted VALUES (%s)", [(s["psycopg row"],), (s["psycopg other row"],)])
    async for _ in cursor.stream("SELECT %s", (s["psycopg stream"],)):
        pass
    async with cursor.copy("COPY planted FROM STDIN") as copy:
        await copy.write_row((s["psycopg copied"], 1))
    with failing("psycopg: unique"):
        await connection.execute("INSERT INTO planted VALUES (%s)", (s["psycopg row"],))
    with failing("psycopg: cast"):
        await connection.execute(f"SELECT '{s['psycopg cast']}'::int")
    with failing("psycopg: pipeline"):
        async with connection.pipeline():
            await connection.execute(f"SELECT '{s['psycopg queued']}'::int")
    with failing("psycopg: client"):
        await psycopg.AsyncClientCursor(connection).execute("SELECT %s::int", (s["psycopg merged"],))
    async with connection.transaction(), connection.cursor(f"ghp_{s['psycopg cursor']}0123456789") as named:
        await named.execute("SELECT %s", (s["psycopg cursor parameter"],))
        await named.fetchall()
    await connection.close()
    dsn = f"postgresql://app:{s['psycopg password']}@127.0.0.1:1/shop?application_name={s['psycopg application']}"
    with failing("psycopg: refused"):
        psycopg.connect(dsn, password=s["psycopg argument"])
    with failing("psycopg: refused pool"):
        async with psycopg_pool.AsyncConnectionPool(dsn, open=False, min_size=0, max_size=1, timeout=0.2) as pool:
            await pool.getconn()


async def plant_sqlalchemy() -> None:
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
            with failing("SQLAlchemy: unique"):
                connection.execute(text("INSERT INTO planted VALUES (:email)"), values[0])
            connection.rollback()
            with failing("SQLAlchemy: syntax"):
                connection.execute(text(f"SELECT '{s['unclosed of ' + url]}"))
        engine.dispose()
    for kind, place in (("refused", "127.0.0.1:1/shop"), ("missing", f"{server.rpartition('@')[2]}_missing")):
        login = f"postgres:{s[f'{kind} password of an engine']}@{place}"
        query = f"?application_name={s[f'{kind} application of an engine']}"
        with failing(f"SQLAlchemy: {kind}"):
            sqlalchemy.create_engine(f"postgresql+psycopg://{login}{query}").connect()
        with failing(f"SQLAlchemy: {kind}, asyncio"):
            async with create_async_engine(f"postgresql+asyncpg://{login}").connect():
                pass
    asynchronous = create_async_engine(f"postgresql+asyncpg://{server}")
    async with asynchronous.connect() as session:
        await session.execute(text(f"SELECT '{s['async literal']}', :n"), {"n": s["async parameter"]})
        async with session.stream(text("SELECT :n"), {"n": s["stream parameter"]}) as rows:
            assert [row async for row in rows]
        with failing("SQLAlchemy: argument, asyncio"):
            await session.execute(text("SELECT CAST(:n AS int)"), {"n": s["async refused parameter"]})
        await session.rollback()
        with failing("SQLAlchemy: cast, asyncio"):
            await session.execute(text(f"SELECT CAST('{s['async cast']}' AS int)"))
    await asynchronous.dispose()


async def plant_redis() -> None:
    import redis.asyncio

    await _commands(redis)


async def plant_valkey() -> None:
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
        with failing("script"):
            await client.eval(f"return redis.call('{s['Redis failing script']}')", 0, s["Redis failing argument"])
        with failing("AUTH"):
            await client.execute_command("AUTH", s["Redis user"], s["Redis password"])
        with failing("HELLO"):
            await client.execute_command("HELLO", 3, "AUTH", s["Redis HELLO user"], s["Redis HELLO password"])
        await client.acl_setuser("planted", passwords=[f"+{s['Redis ACL password']}"])
        await client.acl_deluser("planted")
        await client.client_setname(s["Redis client name"])
        async with client.lock(s["Redis lock"], timeout=60):
            await client.publish(s["Redis published channel"], s["Redis message"])
        with failing("unknown"):
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
            with failing("pipeline"):
                await pipeline.execute()
    server = os.environ["PLANTED_REDIS"].rpartition("//")[2]
    for user in ("", s["Redis URL user"]):
        login = f"redis://{user}:{s[f'Redis URL password {bool(user)}']}@{server}"
        with failing("Redis: login"):
            async with redis.asyncio.from_url(login) as client:
                await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis URL password']}@127.0.0.1:1/0") as client:
            await client.get("a")
    with contextlib.suppress(redis.ConnectionError):
        async with redis.asyncio.from_url(f"redis://:{s['Redis pubsub password']}@127.0.0.1:1/0") as client:
            await client.pubsub().subscribe(s["Redis channel"])


async def plant_neo4j() -> None:
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
                with failing(f"Cypher {kind}"):
                    await (await session.run(query, p=f"({s[f'Cypher failing {kind}']}")).consume()

            async def work(transaction: Any) -> None:
                await (await transaction.run("RETURN $p AS p", {"p": s["Cypher managed parameter"]})).consume()

            await session.execute_write(neo4j.unit_of_work(metadata={"by": s["transaction metadata"]})(work))
            with failing("Cypher transaction"):
                async with await session.begin_transaction(metadata={"by": s["explicit metadata"]}) as transaction:
                    await transaction.run(f"MATCH (n {{a: '{s['Cypher unclosed']}", p=s["Cypher explicit parameter"])
            with failing("Cypher"):
                await (await session.run(f"RETURN toInteger('{s['Cypher failing literal']}'")).consume()
        await driver.execute_query("RETURN $p AS p", p={"token": s["Cypher map parameter"]}, database_=database)
    SECRETS["graph password"] = password
    async with neo4j.AsyncGraphDatabase.driver(url, auth=(user, s["graph wrong password"])) as driver:
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.verify_connectivity(database=database)
        with contextlib.suppress(neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError):
            await driver.execute_query("RETURN 1 AS n", database_=database)
