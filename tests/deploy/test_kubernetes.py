"""The manifests are valid, and the collector answers the probes with the environment that they give it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.collector.running import running
from tests.deploy.files import DEPLOY

_PATH = DEPLOY / "kubernetes" / "collector.yaml"
_OBJECTS = [each for each in yaml.safe_load_all(_PATH.read_text(encoding="utf-8")) if each]
_STATEFUL: dict[str, Any] = next(each for each in _OBJECTS if each["kind"] == "StatefulSet")["spec"]
_CONTAINER: dict[str, Any] = _STATEFUL["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", _OBJECTS, ids=lambda each: each["kind"])
def test_objects_are_of_the_published_schemas(manifest: dict[str, Any], version: str) -> None:
    """Every object has only fields that Kubernetes' OpenAPI schema knows, with values that it allows."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_does_not_exist_is_found() -> None:
    """The schemas are asked strictly: a misspelt field is not passed over."""
    wrong = {**_OBJECTS[0], "dada": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_names_and_ports_agree() -> None:
    """Labels select the pod, ports by name are the container's, mounts are volumes, and the store is a claim."""
    labels = _STATEFUL["template"]["metadata"]["labels"]
    ports = {port["name"] for port in _CONTAINER["ports"]}
    service = next(each for each in _OBJECTS if each["kind"] == "Service")["spec"]
    policy = next(each for each in _OBJECTS if each["kind"] == "NetworkPolicy")["spec"]
    selectors = (_STATEFUL["selector"]["matchLabels"], service["selector"], policy["podSelector"]["matchLabels"])
    assert [selector for selector in selectors if selector != labels] == []
    assert {port["targetPort"] for port in service["ports"]} <= ports
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports
    volumes = {volume["name"] for volume in _STATEFUL["template"]["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in _STATEFUL["volumeClaimTemplates"]}
    assert {mount["name"] for mount in _CONTAINER["volumeMounts"]} == volumes | claims
    assert _STATEFUL["replicas"] == 1, "one process writes to a store"


def test_the_probes_are_answered(tmp_path: Path) -> None:
    """With the pod's arguments and environment the collector answers each probe, which names the pod's address, 200."""
    config = next(each for each in _OBJECTS if each["kind"] == "ConfigMap")["data"]
    for name, text in config.items():
        (tmp_path / name).write_text(text)
    command, *options = [word.replace("/etc/causal-otel", str(tmp_path)) for word in _CONTAINER["args"]]
    assert command == "collector"
    environ = {each["name"]: each.get("value", "a-token") for each in _CONTAINER["env"]}
    environ["CAUSAL_OTEL_COLLECTOR_HOST"] = "0.0.0.0"  # the image's
    with running(tmp_path / "traces", *options, environ=environ) as collector:
        port = collector.pages.rpartition(":")[2]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = _CONTAINER[probe]["httpGet"]["path"]
            for host in ("10.1.2.3", "causal-otel-collector.tracing.svc"):
                headers = {"host": f"{host}:16686"}
                response = httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False, timeout=60)
                assert response.status_code == 200, (probe, host, response.text)
