"""The container files, read as text: users, ports, defaults and shutdown time."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config import BUILTIN_DEFAULTS, Settings
from service.environment import FOREIGN_VARIABLES, PREFIX
from tests.support.environments import environment

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
STAGES = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))


def stage(name: str) -> str:
    """Return the instructions of a stage and of its base stages."""
    (match,) = re.findall(rf"^FROM (\S+) AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    base, body = match
    return (stage(base) if f" AS {base}\n" in DOCKERFILE else "") + body


def test_base_image_is_the_first_argument() -> None:
    first = next(line for line in DOCKERFILE.splitlines() if line and not line.startswith("#"))
    assert first == "ARG BASE_IMAGE=python:3.12-slim"
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) <= {"${BASE_IMAGE}", *STAGES}


@pytest.mark.parametrize("target", ["service", "service-gpu", "training", "training-gpu"])
def test_no_target_runs_as_root(target: str) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", stage(target), re.MULTILINE)
    assert int(user) > 0


@pytest.mark.parametrize("target", ["service", "service-gpu"])
def test_image_has_port_healthcheck_and_stop_signal(target: str) -> None:
    text = stage(target)
    assert "EXPOSE 8000" in text
    assert "HOURGLASS_HOST=0.0.0.0" in text
    assert "HEALTHCHECK" in text
    assert "STOPSIGNAL SIGTERM" in text
    assert 'ENTRYPOINT ["hourglass"]' in text
    assert "ORT_DISABLE_TELEMETRY=1" in text


@pytest.mark.parametrize(("target", "libraries"), [("service", "cpu"), ("service-gpu", "gpu")])
def test_service_image_contains_no_training(target: str, libraries: str) -> None:
    sources = re.findall(r"^COPY --from=(\S+) ", stage(target), re.MULTILINE)
    assert sources == [libraries, "service-code"]
    assert f"-r /requirements/{libraries}.txt" in stage(libraries)
    assert not any("training.txt" in stage(source) for source in sources)
    assert "RUN rm -r /code/bin/hourglass-train" in stage("service-code")


def test_last_stage_is_the_service() -> None:
    assert DOCKERFILE.rstrip().splitlines()[-1] == "FROM service"


@pytest.mark.parametrize("target", ["service", "service-gpu"])
def test_containers_leave_default_models_to_the_code(target: str) -> None:
    assert "HOURGLASS_DEFAULT_" not in stage(target)
    environment: dict[str, str] = COMPOSE["services"][target]["environment"]
    defaults = {name: value for name, value in environment.items() if name.startswith("HOURGLASS_DEFAULT_")}
    assert defaults == {
        f"{PREFIX}DEFAULT_{name.upper()}": f"${{{PREFIX}DEFAULT_{name.upper()}:-}}" for name in BUILTIN_DEFAULTS
    }


def test_image_label_has_the_project_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = re.findall(r'image\.version="([^"]+)"', stage("service"))
    (licence,) = re.findall(r'image\.licenses="([^"]+)"', stage("service"))
    assert (version, licence) == (project["version"], project["license"])


def test_dockerignore_keeps_every_copied_path() -> None:
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {path for paths in copied for path in paths.split()} == passed
    assert all((ROOT / path).exists() for path in passed)


def test_image_contains_no_package_index() -> None:
    assert not re.findall(r"^(?:ARG|ENV) .*(?:INDEX\w*=\S|PROXY|TOKEN|PASSWORD)", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", ["Dockerfile", "docker-compose.yml", "deploy/build-and-smoke.sh"])
def test_container_variables_are_settings(name: str) -> None:
    variables = set(re.findall(r"HOURGLASS_[A-Z_]*[A-Z]", (ROOT / name).read_text()))
    assert variables
    assert variables - FOREIGN_VARIABLES <= {PREFIX + field.upper() for field in Settings.model_fields}


def test_compose_starts_only_the_service_by_default() -> None:
    services = COMPOSE["services"]
    assert {name: service.get("profiles") for name, service in services.items()} == {
        "service": None,
        "service-gpu": ["gpu"],
        "training": ["training"],
        "training-gpu": ["training-gpu"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
        "jaeger": ["observability"],
    }
    for service in (service for service in services.values() if "image" not in service or "build" in service):
        assert service["build"]["target"] in STAGES
        assert service["build"]["args"]["BASE_IMAGE"] == "${BASE_IMAGE:-python:3.12-slim}"
    for name in ("service-gpu", "training-gpu"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_training_on_gpus_takes_torch_with_cuda() -> None:
    assert "TORCH_INDEX" in stage("learning")
    assert "TORCH_INDEX" not in stage("learning-gpu")
    assert "COPY --from=learning-gpu " in stage("training-gpu")
    services = COMPOSE["services"]
    assert services["training-gpu"]["volumes"] == services["training"]["volumes"]
    assert services["training-gpu"]["command"][-2:] == ["--device", "cuda"]


@pytest.mark.parametrize("name", ["service", "service-gpu", "training", "training-gpu"])
def test_compose_drops_all_privileges(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's own
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["service", "service-gpu"])
def test_compose_mounts_models_and_allows_graceful_stop(name: str) -> None:
    service = COMPOSE["services"][name]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert int(service["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain_timeout"].default


@pytest.mark.parametrize("name", ["prometheus", "grafana", "jaeger"])
def test_observability_runs_pinned_and_unprivileged(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("${PUBLISH_HOST:-127.0.0.1}:") for port in service.get("ports", ()))
    for volume in service.get("volumes", ()):
        source, _, options = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).is_dir()
            assert options.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_prometheus_of_compose_scrapes_its_service() -> None:
    folder = ROOT / "deploy" / "prometheus"
    alone, composed = (
        yaml.safe_load((folder / name).read_text()) for name in ("prometheus.yml", "prometheus-compose.yml")
    )
    (target,) = composed["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == "service:8000"
    assert "service" in COMPOSE["services"]
    composed["scrape_configs"][0]["static_configs"] = alone["scrape_configs"][0]["static_configs"]
    assert composed == alone


def test_grafana_sources_are_services_of_compose() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "datasources.yml").read_text())["datasources"]
    assert {re.split("[/:]+", source["url"])[1] for source in sources} <= set(COMPOSE["services"])
    (provider,) = yaml.safe_load((folder / "dashboards" / "dashboards.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    (source,) = (source for source, place in mounts.items() if place == provider["options"]["path"])
    assert (ROOT / source / "hourglass.json").is_file()


@pytest.mark.slow
def test_compose_file_fits_the_schema_of_compose() -> None:
    python = environment("compose")
    check = "import sys, yaml, compose_spec as c; c.ComposeSpecification.model_validate(yaml.safe_load(sys.stdin))"
    for text, valid in (((ROOT / "docker-compose.yml").read_text(), True), ("services: {a: {ports: 5}}", False)):
        completed = subprocess.run([python, "-c", check], input=text, capture_output=True, text=True, check=False)
        assert (completed.returncode == 0) is valid, completed.stderr


def test_compose_host_values_have_their_own_variables() -> None:
    """A HOURGLASS_ variable of the host is passed on as the setting of that name, or belongs to training."""
    text = (ROOT / "docker-compose.yml").read_text()
    settings = set(re.findall(r"^ +(HOURGLASS_[A-Z_]+): \$\{\1:-", text, re.MULTILINE))
    assert set(re.findall(r"\$\{(HOURGLASS_[A-Z_]+)", text)) - FOREIGN_VARIABLES == settings
    for service in ("service", "service-gpu"):
        ports = COMPOSE["services"][service]["ports"]
        assert ports
        assert all(port.startswith("${PUBLISH_HOST:-127.0.0.1}:") for port in ports)
        assert COMPOSE["services"][service]["volumes"] == ["${MODELS_PATH:-./models}:/models:ro"]
