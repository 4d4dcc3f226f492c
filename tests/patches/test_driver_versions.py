"""The tests of each patch on other versions of its driver than the installed one: ``make test-long``, ``make matrix``.

The oldest version that the patch supports, and those since then in which the driver changed what is wrapped; that of
the constraints is what ``make test`` runs on. The newest there is, which changes without us, is for ``make matrix``
alone, which runs the oldest too, on every Python that is there: see ``noxfile.py``.

pip installs a version, through its ordinary configuration, into a virtual environment that has everything else from
this one; so programs that the tests start see the same version. A test may not be skipped there: what a version does
not have is named below.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from causal_otel.instrument.registry import BUILT_IN
from tests.environments import environment, pip_install, run_to_end

__all__ = ["environment"]

pytestmark = pytest.mark.timeout(1200)

SECONDS_TO_RUN = 900


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is run on another version.

    Attributes:
        files: modules of ``tests/patches``; ``*`` stands for anything.
        only: pytest's ``-k``, where not all of them are meant.
    """

    files: tuple[str, ...]
    only: str = ""


TESTS = {
    "asyncpg": Selection(
        files=(
            "test_asyncpg*",
            "test_sqlalchemy*",
            "test_durations",
        ),
        only="asyncpg or sqlalchemy",
    ),
    # Not over SQLAlchemy, whose versions are tested by themselves.
    "asyncpg in short": Selection(files=("test_asyncpg*", "test_durations"), only="asyncpg"),
    "redis": Selection(files=("test_redis*", "planted/test_redis", "test_durations"), only="redis and not valkey"),
    "valkey": Selection(files=("test_valkey", "test_redis_nodes"), only="valkey"),
    "httpx": Selection(files=("test_httpx*", "planted/test_httpx", "test_durations"), only="httpx and not httpx2"),
    "httpx2": Selection(files=("test_httpx", "test_httpx_attempts", "planted/test_httpx"), only="httpx2"),
    "aiohttp": Selection(files=("test_aiohttp*", "planted/test_aiohttp")),
    "aiokafka": Selection(files=("test_aiokafka*",)),
    "asgi": Selection(files=("test_asgi*", "test_w3c_rules", "planted/test_asgi")),
    # Routers, dependencies and what is wrapped: not what the servers do, which are the same.
    "asgi in short": Selection(
        files=("test_asgi*",),
        only="not test_asgi_departures and not test_asgi_long_connections and not test_asgi_uvicorn",
    ),
    "celery": Selection(
        files=(
            "test_celery_scenario",
            "test_celery",
            "test_celery_attempts",
            "test_celery_canvases",
            "test_celery_eager",
            "test_celery_installed",
            "test_celery_links",
            "test_celery_messages",
            "test_celery_noise",
            "test_celery_outcomes",
            "test_celery_publishing",
            "test_celery_retries",
            "test_celery_states",
            "test_celery_workers",
        )
    ),
    # What wraps Celery's inner parts, edges, endings, and that there is nothing else.
    "celery in short": Selection(
        files=(
            "test_celery_scenario",
            "test_celery_attempts",
            "test_celery_links",
            "test_celery_noise",
            "test_celery_outcomes",
            "test_celery_publishing",
            "test_celery_states",
        )
    ),
    # On ArcadeDB, which is there without a JDK. Neo4j is no other driver: `make test` runs them on it.
    "neo4j": Selection(files=("test_neo4j*", "test_durations"), only="neo4j and not [neo4j and not -neo4j]"),
    "psycopg": Selection(files=("test_psycopg*",)),
    "grpc": Selection(files=("test_grpc*",)),
    "sqlalchemy": Selection(files=("test_sqlalchemy*",)),
    "strawberry": Selection(files=("test_strawberry*",)),
    "taskiq": Selection(files=("test_taskiq*",)),
    "wsgi": Selection(files=("test_wsgi*", "test_asgi_frameworks")),
}

BETWEEN = [
    ("aiohttp", "aiohttp==3.11.18"),  # the last without middlewares
    ("aiohttp", "aiohttp==3.13.5"),
    ("aiokafka", "aiokafka==0.13.0"),  # the first that writes no messages for brokers before headers
    ("asgi in short", "fastapi==0.110.1"),
    ("asgi in short", "fastapi==0.121.0"),  # the first whose dependencies say how long they live
    ("asgi in short", "fastapi==0.137.0"),  # the first whose routers keep their prefixes to themselves
    ("asgi in short", "fastapi==0.142.0"),  # the first that traces by itself
    ("asyncpg in short", "asyncpg==0.30.0"),  # the first with fetchmany(), and with a reset() in two parts
    ("asyncpg in short", "asyncpg==0.31.0"),  # the last whose pools restore no connections in the background
    # Each with a Kombu and a redis-py of its time.
    ("celery in short", "celery==5.3.6 kombu==5.3.7 redis==5.0.8"),
    ("celery in short", "celery==5.4.0 kombu==5.4.2 redis==5.0.8"),
    ("celery in short", "celery==5.5.3 kombu==5.5.4 redis==5.2.1"),
    ("celery in short", "celery==5.6.3 kombu==5.6.2 redis==6.4.0"),
    ("grpc", "grpcio==1.71.2"),
    ("psycopg", "psycopg==3.2.13 psycopg-binary==3.2.13 psycopg-pool==3.2.8"),  # the last before 3.3
    ("redis", "redis==6.4.0"),  # with transactions in clusters
    ("redis", "redis==7.1.1"),  # the last whose errors do not tell the server's code
    ("httpx2", "httpx2==2.0.0"),  # the oldest of the other driver that the patch of httpx is for
    ("sqlalchemy", "SQLAlchemy==2.0.58"),
    ("strawberry", "strawberry-graphql==0.315.0"),  # without stream()
    ("taskiq", "taskiq==0.12.6"),
]

FIRST_ON_3_13 = {"asyncpg": "0.30", "grpcio": "1.66.2", "psycopg": "3.2.2"}
"""The first versions that run there, of drivers that are compiled."""

BESIDE = {"strawberry": ["graphql-core<3.3"], "taskiq": ["taskiq-redis"]}
"""What goes with older versions of a driver, which allow newer ones of it that they do not work with."""

# What is not run on some versions, which do not have what is tested, or have a fault of their own in its way.
WITHOUT = [
    ("aiohttp", "<3.12", "test_aiohttp_options.py::test_each_retry_of_a_middleware_is_a_span"),
    ("asyncpg", "<0.30", "test_asyncpg.py::test_fetchmany"),
    ("asyncpg", "<0.30", "test_durations.py::test_every_call[asyncpg-Connection.fetchmany"),
    ("asyncpg", "<0.30", "test_durations.py::test_every_call[asyncpg-PreparedStatement.fetchmany"),
    ("asyncpg", "<0.30", "test_asyncpg_leases.py::test_a_pool_with_a_reset_of_its_own_leases_nothing"),
    ("asyncpg", "<0.30", "test_asyncpg_leases.py::test_a_pool_of_the_user_s_own_class_leases_nothing"),
    ("asyncpg", "<0.32", "test_asyncpg_failures.py::test_what_a_pool_does_in_the_background"),
    ("asyncpg", "<0.32", "test_asyncpg_failures.py::test_connection_that_does_not_close"),
    ("celery", "<5.4", "test_celery_canvases.py::test_canvas[chord of a generator]"),  # whose tasks have no index
    # There SystemExit is no result of a task, a lost process is a failure even of a task that has stored its result,
    # and nothing is retried because of it.
    ("celery", "<5.7", "test_celery_states.py::test_errback_of_what_the_process_has_told"),
    ("celery", "<5.7", "test_celery_states.py::test_process_that_is_killed_when_the_result_is_stored"),
    ("celery", "<5.7", "test_celery_states.py::test_retry_of_a_lost_attempt"),
    # There closing a channel may end its calls as UNAVAILABLE, not as cancelled.
    ("grpcio", "<1.71", "test_grpc_client.py::test_stream_that_is_left"),
    ("neo4j", "<6", "planted/test_neo4j.py::test_tls"),  # one function connects and secures, and calls none between
    ("redis", "<6.0", "test_redis_clusters.py::test_a_clusters_transaction_is_one_span"),
    # A server that refuses a connection was not asked again.
    ("redis", "<8", "test_redis_outcomes.py::test_short_attempts_to_connect_are_one_wait"),
    ("redis", "<7", "test_redis_listening.py::test_health_checks_are_nobody_s"),
    # There a push handler takes the place of the parser's own, asyncio's blocking pool is of another kind, and TLS is
    # negotiated by the method that connects.
    ("redis", "<5.1", "test_redis_listening.py::test_what_the_server_pushes_is_nobody_s"),
    ("redis", "<5.1", "planted/test_redis.py::test_a_pool_without_a_free_connection"),
    ("redis", "<5.1", "planted/test_redis.py::test_a_slow_handshake_of_tls"),
    # There an error in asyncio's pipeline loses the server's message: it ends in "{exception.args}".
    ("redis", "==6.4.0", "test_durations.py::test_every_call[redis-Pipeline.execute-fails]"),
    ("redis", "==6.4.0", "test_durations.py::test_every_call[redis-Pipeline.execute (no transaction)-fails]"),
    ("taskiq", "<0.12", "test_taskiq_local.py::test_a_retry_that_was_scheduled_stays_in_the_trace"),  # cannot be
    ("starlette", "<1.7", "test_asgi_installed.py::test_starlette_s_own_middleware_does_not_double_the_span"),
]


def _drivers(patch: str) -> dict[str, str]:
    """The distributions that a patch is about, each with the first version of it that is supported."""
    return {name: first for name, (first, _) in BUILT_IN[patch].load().versions.items() if name != "httpx2"}


def _oldest(patch: str) -> list[str]:
    first = _drivers(patch)
    if sys.version_info >= (3, 13):
        first |= {name: version for name, version in FIRST_ON_3_13.items() if name in first}
    if patch == "psycopg":
        first["psycopg-binary"] = first["psycopg"]  # which has libpq in it
    return [f"{name}=={version}" for name, version in first.items()]


def _newest(patch: str) -> list[str]:
    """What pip is asked for, to get the newest versions that the patch supports."""
    versions = BUILT_IN[patch].load().versions
    return [f"{name}<{before}" for name, (_, before) in versions.items() if name in _drivers(patch)]


def _versions(python: Path, names: list[str]) -> dict[str, str]:
    """Which versions of distributions that Python finds."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    return dict(zip(names, run_to_end(python, "-c", code, *names, seconds=60).split(), strict=True))


def _run_tests(python: Path, tests: Selection, versions: dict[str, str], report: Path) -> None:
    """Run them all, and assert that each has passed."""
    left_out = [test for name, on, test in WITHOUT if name in versions and versions[name] in SpecifierSet(on)]
    run_to_end(
        python,
        *("-m", "pytest", "-q", f"--junitxml={report}", "-p", "no:schemathesis"),
        *("-W", "ignore"),  # what an old version warns of, nobody mends any more
        *(path for name in tests.files for path in sorted(Path(__file__).parent.glob(f"{name}.py"))),
        *(("-k", tests.only) if tests.only else ()),
        *(f"--deselect=tests/patches/{test}" for test in left_out),
        seconds=SECONDS_TO_RUN,
    )
    suites = ElementTree.parse(report).getroot()
    (suite,) = suites
    skipped = [f"{case.get('classname')}::{case.get('name')}" for case in suite if case.find("skipped") is not None]
    assert int(suite.get("tests", 0)) > 0
    assert skipped == []


def _names(requirements: list[str]) -> list[str]:
    return [Requirement(each).name for each in requirements]


_PATCHES = [patch for patch in BUILT_IN if _drivers(patch)]


def _test(tests: str, environment: Path, report: Path, requirements: list[str]) -> None:
    """Run what ``TESTS`` has under that name with those versions, which are installed there."""
    patch = tests.removesuffix(" in short")
    of_the_patch = _drivers(patch) if patch in BUILT_IN else ()
    versions = _versions(environment, [*{*_names(requirements), *of_the_patch}])
    for each in map(Requirement, requirements):
        assert versions[each.name] in each.specifier
    _run_tests(environment, TESTS[tests], versions, report)


@pytest.mark.long
@pytest.mark.parametrize("patch", _PATCHES)
def test_lowest_version(environment: Path, tmp_path: Path, patch: str) -> None:
    """Every test passes, none is skipped, on the oldest version that the patch supports."""
    requirements = _oldest(patch)
    pip_install(environment, *requirements, *BESIDE.get(patch, []))
    _test(patch, environment, tmp_path / "report.xml", requirements)


@pytest.mark.long
@pytest.mark.parametrize(("tests", "requirements"), BETWEEN, ids=[requirements for _, requirements in BETWEEN])
def test_version_between(environment: Path, tmp_path: Path, tests: str, requirements: str) -> None:
    """Every test passes, none is skipped, on a version in which the driver changed what is wrapped."""
    pip_install(environment, *requirements.split(), *BESIDE.get(tests, []))
    _test(tests, environment, tmp_path / "report.xml", requirements.split())


@pytest.mark.matrix
@pytest.mark.parametrize("patch", _PATCHES)
def test_highest_version(environment: Path, tmp_path: Path, patch: str) -> None:
    """Every test passes, none is skipped, on the newest version in the range of the patch that there is today."""
    requirements = _newest(patch)
    pip_install(environment, "--upgrade", *requirements)
    _test(patch, environment, tmp_path / "report.xml", requirements)
