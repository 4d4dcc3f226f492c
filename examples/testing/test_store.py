"""What the store answers, and what it asks its database for that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from causal_otel.testing import Traces
from store import app


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client of the running application."""
    with TestClient(app) as client:
        yield client


def test_the_total_of_an_order(client: TestClient, traces: Traces) -> None:
    """An order takes three queries, however many items it has."""
    assert client.get("/orders/1").json() == {"cents": 1500}
    traces.assert_tree("""
        GET
            GET /orders/{number}
                SELECT orders
                SELECT items
                SELECT articles
    """)
    traces.assert_max_queries(3, operation="GET /orders/*")
    traces.assert_no_n_plus_one()
    traces.assert_no_orphans()


def test_an_order_that_there_is_not(client: TestClient, traces: Traces) -> None:
    """A 404 takes one query, and is no error of the server's."""
    assert client.get("/orders/2").status_code == 404
    assert (
        traces.snapshot()
        == """\
GET [http testserver] 404 ERROR
╰╴GET /orders/{number} [server] 404
  ╰╴SELECT orders [sqlite]"""
    )
