"""What the tests of several patches share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from urllib.parse import urlsplit

import kombu.pools
import pytest

from tests.patches.celery_app import app


@pytest.fixture(scope="session")
def broker(redis_url: str) -> Iterator[str]:
    """A database of the broker for these tests alone; the app publishes to it.

    One for all of them: the app keeps its pool of connections, which are closed once and for ever.
    """
    url = urlsplit(redis_url)._replace(path="/7").geturl()
    app.conf.update(broker_url=url, result_backend=url)
    yield url
    gc.collect()  # results that nobody has waited for talk to the backend when they go, so while it is there
    kombu.pools.reset()
