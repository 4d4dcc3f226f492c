"""The compose files name what is there, and the collector runs with what they give it.

Against the Compose specification they are checked in tests/interop.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.collector.running import Running, clean_environment, one_span, running
from tests.deploy.files import COMPOSE, DEPLOY, compose, dockerfile, interpolated

_SERVICES = [
    pytest.param(service, id=f"{name}:{service_name}")
    for name in COMPOSE
    for service_name, service in compose(name)["services"].items()
]
_MADE_BY_THE_OPERATOR = {"certs", "secrets"}  # by certificates.sh, and as the how-to says


@pytest.mark.parametrize("service", _SERVICES)
def test_what_is_mounted_is_there(service: dict[str, Any]) -> None:
    """A file or folder that a service mounts is in deploy/, and is mounted read-only."""
    for mount in service.get("volumes", []):
        source, _, rest = mount.partition(":")
        if not source.startswith("."):
            continue
        assert rest.endswith(":ro"), mount
        name = source.removeprefix("./")
        assert (DEPLOY / name).exists() or name in _MADE_BY_THE_OPERATOR, mount


@pytest.mark.parametrize("service", _SERVICES)
def test_images_are_of_one_version(service: dict[str, Any]) -> None:
    """An image that somebody else makes has a version, so that it is the same tomorrow."""
    if "build" not in service and "extends" not in service:
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+(\.\d+)?", service["image"]), service["image"]


@pytest.mark.parametrize("name", COMPOSE)
def test_volumes_and_secrets_are_declared(name: str) -> None:
    """A named volume, a secret or a service that is waited for stands in the file, and nothing is declared in vain."""
    document = compose(name)
    volumes, secrets = set(), set()
    for service in document["services"].values():
        base = service
        if "extends" in service:
            base = compose(service["extends"]["file"])["services"][service["extends"]["service"]]
        volumes |= {mount.partition(":")[0] for mount in base.get("volumes", []) if not mount.startswith(".")}
        secrets |= set(base.get("secrets", []))
        assert set(base.get("depends_on", {})) <= set(document["services"])
    assert volumes == set(document["volumes"])
    assert secrets == set(document.get("secrets", {}))


# -- our collector -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The collector with the command and the environment of compose.yaml; its ports and directory are the test's."""
    service = compose("compose.yaml")["services"]["collector"]
    mounts = dict(mount.split(":")[1::-1] for mount in service["volumes"] if mount.startswith("."))
    command, *options = [str(DEPLOY / mounts[word]) if word in mounts else word for word in service["command"]]
    assert command == "collector"
    environ = {name: interpolated(value, {}) for name, value in service["environment"].items()}
    with running(tmp_path_factory.mktemp("traces"), *options, environ=environ) as found:
        yield found


def test_our_collector_runs_as_compose_says(collector: Running) -> None:
    """It takes the options, asks for the token, keeps thirty days within 5 GB, and serves the strategies."""
    assert collector.post(one_span(7)).status_code == 401
    token = {"authorization": "Bearer development"}
    assert collector.post(one_span(7), **token).status_code == 200
    status = collector.get("/status.json", **token).json()
    assert (status["store"]["retention_days"], status["store"]["max_bytes"]) == (30, 5_000_000_000)
    strategy = collector.get("/api/sampling?service=any", **token).json()
    assert strategy["probabilisticSampling"] == {"samplingRate": 1.0}


def test_the_health_check_of_the_image_tells_whether_it_lives(collector: Running) -> None:
    """The Dockerfile's HEALTHCHECK ends with 0 where a collector answers, and not where nothing does."""
    words = re.search(r'CMD (\["python".*\])', dockerfile("HEALTHCHECK")[-1])
    assert words is not None
    _, option, code = json.loads(words[1])
    port = collector.pages.rpartition(":")[2]
    for asked, ended_well in ((port, True), ("1", False)):
        environ = {**clean_environment(), "CAUSAL_OTEL_COLLECTOR_PORT": asked}
        done = subprocess.run([sys.executable, option, code], env=environ, capture_output=True, timeout=60)
        assert (done.returncode == 0) is ended_well, done.stderr
