"""Secrets in all that the patches of HTTP read: requests that are sent and served, and GraphQL."""

from __future__ import annotations

import contextlib
from typing import Any

import causal_otel
from tests.planted_secrets import SECRETS, card, failing, jwt

__all__ = ["plant_http", "plant_strawberry", "plant_wsgi"]


async def plant_http() -> None:
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
            for path in ("/boom", "/background"):
                with contextlib.suppress(Exception):
                    await client.get(path)
            with failing("refused"):
                await client.get(f"http://:{s['URL refused']}@127.0.0.1:1/")
        await _with_aiohttp(port)
        activation = attach(baggage.set_baggage("tenant", s["baggage outgoing"]))
        with causal_otel.span("to strangers"):
            async with httpx.AsyncClient(trust_env=False) as client:
                allowed = (await client.get(f"http://127.0.0.1:{port}/echo")).json()["baggage"]
                denied = (await client.get(f"http://localhost:{port}/echo")).json()["baggage"]
        activation.end()
        assert allowed == f"tenant={s['baggage outgoing']}"
        assert denied is None


async def _with_aiohttp(port: str) -> None:
    """The same of aiohttp's client."""
    import aiohttp

    s = SECRETS
    headers = {
        "Authorization": f"Bearer {s['aiohttp bearer']}",
        "Cookie": f"session={s['aiohttp cookie']}",
        "X-Api-Key": s["aiohttp header"],
        "tracestate": f"vendor=token:{s['aiohttp tracestate']}",
    }
    url = f"127.0.0.1:{port}/echo?access_token={s['aiohttp token']}&page=2#id_token={s['aiohttp part']}"
    async with aiohttp.ClientSession(headers=headers) as session:
        await (await session.get(f"http://{url}")).read()
        await (await session.post(f"http://{url}", json={"password": s["aiohttp body"]})).read()
        with failing("aiohttp: refused"):
            await session.get(f"http://:{s['aiohttp refused']}@127.0.0.1:1/?sig={s['aiohttp signature']}")
    async with aiohttp.ClientSession() as session:
        login = f"{s['aiohttp user']}:{s['aiohttp password']}"
        await (await session.get(f"http://{login}@127.0.0.1:{port}/echo")).read()
        with failing("aiohttp: proxy"):
            await session.get("http://127.0.0.1/", proxy=f"http://app:{s['aiohttp proxy']}@127.0.0.1:1")


def plant_wsgi() -> None:
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


async def plant_strawberry() -> None:
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
