"""The description of the APIs, and the APIs held against it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from schemathesis.checks import CHECKS

from causal_otel.collector.jaeger.openapi import document
from tests.collector.jaeger.conftest import application, golden_messages
from tests.collector.oracle import MemoryReader

ELSEWHERE = ("/api/sampling", "/status.json", "/metrics")
ABSENT = (501,)  # answers that there is nothing of the kind
APP = application(MemoryReader(golden_messages()))
SCHEMA = schemathesis.openapi.from_dict(document()).exclude(path=list(ELSEWHERE))
CONFORMANCE: list[Any] = CHECKS.get_by_names(
    ["status_code_conformance", "content_type_conformance", "response_schema_conformance", "unsupported_method"]
)


@pytest.mark.long
@SCHEMA.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: schemathesis.Case[Any], golden_client: httpx.Client) -> None:
    """Whatever is asked, the answer is no failure of the server and has a described status, type and form."""
    # A name with a line break has no path in Starlette's routing, and nobody has such a service.
    assume(not any("\n" in str(value) for value in (case.path_parameters or {}).values()))
    response = case.call(base_url=str(golden_client.base_url))
    assert response.status_code < 500 or response.status_code in ABSENT
    case.validate_response(response, checks=CONFORMANCE)


def test_it_describes_every_route(golden_client: httpx.Client) -> None:
    """The description lists exactly the paths that the APIs have, and those of the collector's other modules."""
    described = set(golden_client.get("/openapi.json").json()["paths"])
    served = {route.path.replace(":path", "").replace(":str", "") for route in APP.routes if hasattr(route, "path")}
    assert described - set(ELSEWHERE) == {path for path in served if "{rest" not in path and path != "/openapi.json"}


@pytest.mark.parametrize("name", sorted(document()["components"]["schemas"]))
def test_every_schema_is_used(name: str) -> None:
    """The description has no schema that nothing refers to."""
    assert f"#/components/schemas/{name}'" in str(document())
