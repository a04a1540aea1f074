"""The Helm chart: lint, rendering of several files of values, schemas of every object, and what the objects promise."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from service.config import Settings
from tests.support.kubernetes_tools import helm, validator

pytestmark = pytest.mark.slow
DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm/hourglass"
VALUES = [None, *sorted((DEPLOY / "helm/values").glob("*.yaml"))]
FOREIGN_KINDS = {"ServiceMonitor"}  # no schema of it at hand: only parsed


def run(*command: str | Path) -> str:
    completed = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def render(values: Path | None, *more: str) -> list[dict[str, Any]]:
    flags = ["-f", values] if values else []
    text = run(helm(), "template", "hourglass", CHART, *flags, *more)
    return [document for document in yaml.safe_load_all(text) if document]


def find(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(document for document in objects if document["kind"] == kind)


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_chart_passes_lint(values: Path | None) -> None:
    run(helm(), "lint", "--strict", CHART, *(["-f", values] if values else []))


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_objects_match_their_schemas(values: Path | None, tmp_path: Path) -> None:
    objects = [document for document in render(values) if document["kind"] not in FOREIGN_KINDS]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    run(validator(), "--strict", file)
    assert len(objects) >= 5


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_settings_of_the_chart_are_valid(values: Path | None) -> None:
    data = find(render(values), "ConfigMap")["data"]
    settings = Settings.from_env(data)
    pod = find(render(values), "Deployment")["spec"]["template"]["spec"]
    longest = settings.drain_timeout + settings.shutdown_delay + settings.request_timeout_per_megapixel * 64
    assert pod["terminationGracePeriodSeconds"] > longest


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_pods_are_restricted(values: Path | None) -> None:
    """Follow the list of https://kubernetes.io/docs/concepts/security/pod-security-standards (restricted)."""
    pod = find(render(values), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "secret"}


def test_user_is_left_to_openshift() -> None:
    pod = find(render(DEPLOY / "helm/values/openshift.yaml"), "Deployment")["spec"]["template"]["spec"]
    assert "runAsUser" not in pod["securityContext"]


def test_nothing_goes_out_unless_models_are_pulled() -> None:
    assert find(render(None), "NetworkPolicy")["spec"]["egress"] == []
    egress = find(render(DEPLOY / "helm/values/bucket.yaml"), "NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 443}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("settings.port=9", "settings.port is set by another value"),
        ("models.cacheSize=4G,models.address=s3://b/m", "whole number of Mi or Gi"),
        ("models.address=s3://b/m,models.existingClaim=m", "not both"),
    ],
)
def test_wrong_values_are_refused(flag: str, message: str) -> None:
    completed = subprocess.run([helm(), "template", CHART, "--set", flag], capture_output=True, text=True)
    assert completed.returncode
    assert message in completed.stderr


def test_versions_of_chart_and_project_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (DEPLOY.parent / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"$', project, re.MULTILINE)
    assert version
    assert chart["version"] == chart["appVersion"] == version[1]
    assert f"image: hourglass:{version[1]}" in (DEPLOY / "kserve/serving-runtime.yaml").read_text()


def test_service_runs_as_in_the_pod() -> None:
    """Run with the chart's variables, those that Kubernetes adds, another user and a root that cannot be written."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    data = find(render(None), "ConfigMap")["data"] | {"HOURGLASS_MODELS_DIR": str(DEPLOY.parent / "models")}
    links = {
        "HOURGLASS_SERVICE_HOST": "10.0.0.1",
        "HOURGLASS_SERVICE_PORT": "80",
        "HOURGLASS_SERVICE_PORT_HTTP": "80",
        "HOURGLASS_PORT_80_TCP": "tcp://10.0.0.1:80",
        "HOURGLASS_PORT_80_TCP_PROTO": "tcp",
        "HOURGLASS_PORT_80_TCP_PORT": "80",
        "HOURGLASS_PORT_80_TCP_ADDR": "10.0.0.1",
        "KUBERNETES_SERVICE_HOST": "10.0.0.2",
    }
    environment = {**data, **links, "PATH": os.environ["PATH"], "PYTHONPATH": str(DEPLOY.parent), "HOURGLASS_PORT": "0"}
    user = ["setpriv", "--reuid", "1000680000", "--regid", "0", "--clear-groups", "--no-new-privs"]
    # A mount namespace of its own, in which all that is not /tmp, /proc or /dev can only be read.
    script = 'mount -o bind,ro,remount / && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *user, "--bounding-set=-all"]
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "service", "serve"],
        env=environment,
        cwd="/",
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        port = None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if address := re.search(r"http://[\d.]+:(\d+)", line):
                port = address[1]
                break
        assert port, "".join(lines)
        assert httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        assert "service_links_ignored" in "".join(lines)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
