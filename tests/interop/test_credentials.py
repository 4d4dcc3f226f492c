"""TLS and credentials: straight to a true Jaeger, and through a true Collector by token to Jaeger and to ours.

Of the Collector's authenticators Jaeger 2.13 has been built with ``basicauth``, not with ``bearertokenauth``: to it
alone services show a user and a password; a bearer token is for the Collector before it.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from causal_otel.testing.process import LOOPBACK, claim_port
from tests.collector.running import OTLP_HEADERS, Running, running
from tests.deploy.files import DEPLOY
from tests.interop.arrived import Sent, fetched, same, send, send_in_vain, wait_for
from tests.interop.running import Jaeger, configured, jaeger

pytestmark = pytest.mark.needs("jaeger", "otelcol-extensions")

_BASIC = base64.b64encode(b"shop:s3cret").decode()
_TOKENS = {"services": "token-of-the-services", "ours": "token-of-ours"}
_PROTOCOLS = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


def _server(certs: Path) -> dict[str, str]:
    return {"cert_file": str(certs / "server.crt"), "key_file": str(certs / "server.key")}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, certs: Path, secrets: Path) -> Iterator[Jaeger]:
    """Jaeger as for development, but that it wants TLS and a password on both of its OTLP ports."""
    folder = tmp_path_factory.mktemp("secured")
    config = yaml.safe_load((DEPLOY / "jaeger" / "development.yaml").read_text(encoding="utf-8"))
    config["extensions"]["basicauth"] = {"htpasswd": {"file": str(secrets / "otlp_htpasswd")}}
    config["service"]["extensions"].append("basicauth")
    for protocol in config["receivers"]["otlp"]["protocols"].values():
        protocol.update({"tls": _server(certs), "auth": {"authenticator": "basicauth"}})
    path = folder / "jaeger.yaml"
    path.write_text(yaml.safe_dump(config))
    with jaeger(folder / "badger", path) as found:
        yield found


def _whole(query: str, told: Sent, **headers: str) -> None:
    """Assert that the back end at ``query`` has the whole trace; without headers it is Jaeger, with its own model."""
    expected = told.of_trace(told.trace_of("GET /orders"))
    assert len(expected) == 5
    same(wait_for(query, expected[0]["trace"], len(expected), **headers), expected, model=not headers)


def _showing(port: object, protocol: str, certs: Path, authorization: str) -> dict[str, str]:
    return {
        "OTEL_SERVICE_NAME": f"shown-{protocol[:4]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certs / "ca.crt"),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={authorization.replace(' ', '%20')}",
    }


@_PROTOCOLS
def test_straight_to_jaeger_with_tls_and_a_password(secured: Jaeger, certs: Path, protocol: str) -> None:
    """Jaeger takes what comes over TLS with the password, and all of it is there."""
    port = secured.grpc_port if protocol == "grpc" else secured.http_port
    _whole(secured.query, send(1, **_showing(port, protocol, certs, f"Basic {_BASIC}")))


@_PROTOCOLS
def test_jaeger_lets_nobody_else_in(secured: Jaeger, certs: Path, protocol: str) -> None:
    """With another password nothing arrives, and the exporter says what it has been answered."""
    port = secured.grpc_port if protocol == "grpc" else secured.http_port
    wrong = base64.b64encode(b"shop:wrong").decode()
    told = send_in_vain(1, **_showing(port, protocol, certs, f"Basic {wrong}"))
    assert fetched(secured.query, told.trace_of("GET /orders")) == []
    assert ("UNAUTHENTICATED" if protocol == "grpc" else "401") in told.complaints


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[Running]:
    """Our collector, with TLS and a token."""
    tls = ("--tls-cert", str(certs / "server.crt"), "--tls-key", str(certs / "server.key"))
    environ = {"CAUSAL_OTEL_COLLECTOR_TOKEN": _TOKENS["ours"]}
    with running(tmp_path_factory.mktemp("ours"), *tls, environ=environ) as collector:
        yield collector


@pytest.fixture(scope="module")
def ports(
    tmp_path_factory: pytest.TempPathFactory, certs: Path, secured: Jaeger, ours: Running
) -> Iterator[dict[str, int]]:
    """The ports of a Collector that wants a bearer token, and sends everything on to Jaeger and to ours."""
    found = {protocol: claim_port(None, protocol) for protocol in ("http/protobuf", "grpc")}
    listening: dict[str, Any] = {"tls": _server(certs), "auth": {"authenticator": "bearertokenauth"}}
    sending = {"tls": {"ca_file": str(certs / "ca.crt")}}
    config = {
        "extensions": {"bearertokenauth": {"token": _TOKENS["services"]}},
        "receivers": {
            "otlp": {
                "protocols": {
                    "http": {"endpoint": f"{LOOPBACK}:{found['http/protobuf']}", **listening},
                    "grpc": {"endpoint": f"{LOOPBACK}:{found['grpc']}", **listening},
                }
            }
        },
        "exporters": {
            "otlp/jaeger": {
                "endpoint": f"localhost:{secured.grpc_port}",
                "headers": {"authorization": f"Basic {_BASIC}"},
                **sending,
            },
            "otlp/ours": {
                "endpoint": f"localhost:{ours.grpc.rpartition(':')[2]}",
                "headers": {"authorization": f"Bearer {_TOKENS['ours']}"},
                **sending,
            },
        },
        "service": {
            "extensions": ["bearertokenauth"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp/jaeger", "otlp/ours"]}},
        },
    }
    folder = tmp_path_factory.mktemp("bearer")
    with configured("otelcol-extensions", folder, config, found["grpc"]):
        yield found


@_PROTOCOLS
def test_a_token_through_the_collector(
    ports: dict[str, int], secured: Jaeger, ours: Running, certs: Path, protocol: str
) -> None:
    """A bearer token opens the Collector, which shows another to ours, a password to Jaeger: both have everything."""
    told = send(1, **_showing(ports[protocol], protocol, certs, f"Bearer {_TOKENS['services']}"))
    _whole(secured.query, told)
    _whole(ours.pages, told, authorization=f"Bearer {_TOKENS['ours']}")


def test_without_the_token_nothing_is_taken(ports: dict[str, int], ours: Running, certs: Path) -> None:
    """The Collector and our collector answer 401 to a request without a token, or with another's."""
    for url in (f"https://localhost:{ports['http/protobuf']}", ours.http.replace("127.0.0.1", "localhost")):
        for headers in ({}, {"authorization": "Bearer of-somebody-else"}):
            response = httpx.post(
                f"{url}/v1/traces",
                content=b"",
                headers={**OTLP_HEADERS, **headers},
                verify=ssl.create_default_context(cafile=str(certs / "ca.crt")),
                trust_env=False,
                timeout=60,
            )
            assert response.status_code == 401, (url, headers)
