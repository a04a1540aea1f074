"""Ray: the service as two replicas of Ray Serve, and bulk work by two actors of Ray Data."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import digit, png
from tests.support.processes import free_port, until
from tests.support.ray_cluster import ROOT, RayCluster, ray_cluster
from tests.support.tiny_models import publish

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]
BODY = png(digit())
CONFIG = ROOT / "deploy/ray/serve.yaml"
ANSWERS_AFTER = 20
RAY_SECONDS = 180


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[RayCluster]:
    """Yield a cluster of one machine."""
    with ray_cluster(tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster


class Caller:
    """A thread that sends requests without a pause, and counts the answers by status and by model with version."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        self.last: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self.stopped.is_set():
                try:
                    answer = client.post(f"{self.url}/denoise", content=BODY, headers={"content-type": "image/png"})
                    text = (
                        f"{answer.status_code} {answer.headers.get('x-model')} {answer.headers.get('x-model-version')}"
                    )
                except httpx2.TransportError as error:
                    text = type(error).__name__
                self.answers[text] += 1
                self.last = [*self.last[1 - ANSWERS_AFTER :], text]

    def wait_for(self, text: str) -> None:
        """Wait until the last answers were all the same."""
        end = monotonic() + RAY_SECONDS
        while self.last != [text] * ANSWERS_AFTER:
            assert monotonic() < end, self.answers
            sleep(0.05)


@contextmanager
def calling(url: str) -> Generator[Caller]:
    """Run a caller."""
    caller = Caller(url)
    thread = threading.Thread(target=caller.run)
    thread.start()
    try:
        yield caller
    finally:
        caller.stopped.set()
        thread.join()


def configuration(models: Path, port: int, default: str) -> dict[str, Any]:
    """Return the shipped configuration with two replicas of half a CPU, and other models."""
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"] = {**config["http_options"], "host": "127.0.0.1", "port": port}
    config["proxy_location"] = "HeadOnly"
    application = config["applications"][0]
    application["args"]["settings"] = {"models_dir": str(models), "default_denoise": default, "model_watch": "poll"}
    deployment = application["deployments"][0]
    deployment["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    deployment["ray_actor_options"]["num_cpus"] = 0.5
    return config


def deploy(cluster: RayCluster, file: Path, config: dict[str, Any]) -> None:
    """Give a configuration to Ray Serve. Its replicas start afterwards."""
    file.write_text(yaml.safe_dump(config))
    completed = cluster.run("serve", "run", "--non-blocking", str(file))
    assert completed.returncode == 0, completed.stdout + completed.stderr


def replicas() -> int:
    """Return the number of processes of replicas."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended since
            count += path.read_bytes().startswith(b"ray::ServeReplica:hourglass:Hourglass")
    return count


def test_no_request_is_lost_by_updates_of_two_replicas(cluster: RayCluster, tmp_path: Path) -> None:
    models, port = tmp_path / "models", free_port()
    publish(models, "digits")
    publish(models, "digits", name="other")
    deploy(cluster, tmp_path / "serve.yaml", configuration(models, port, "digits"))
    until(lambda: replicas() == 2, RAY_SECONDS)
    with calling(f"http://127.0.0.1:{port}") as caller:
        caller.wait_for("200 digits 1")
        publish(models, "digits", version=2)  # the replicas look into the folder themselves
        caller.wait_for("200 digits 2")
        deploy(cluster, tmp_path / "serve.yaml", configuration(models, port, "other"))
        caller.wait_for("200 other 1")
    assert replicas() == 2
    assert set(caller.answers) == {"200 digits 1", "200 digits 2", "200 other 1"}, caller.answers


def bulk(cluster: RayCluster, *arguments: str) -> "tuple[subprocess.CompletedProcess[str], dict[str, Any]]":
    """Run the bulk work, and return the process and the summary."""
    completed = cluster.run("python", "-m", "service.cli.ray_bulk", *arguments, "--json-summary")
    return completed, json.loads(completed.stdout.splitlines()[-1]) if completed.stdout else {}


def test_bulk_continues_where_a_run_was_stopped(cluster: RayCluster, tmp_path: Path) -> None:
    models, source, output = tmp_path / "models", tmp_path / "in", tmp_path / "out"
    publish(models, "digits")
    (source / "below").mkdir(parents=True)
    for number in range(40):
        (source / f"below/{number}.png").write_bytes(png(digit(number)))
    (source / "broken.png").write_bytes(b"no image")
    flags = ("--options.model=digits", f"--options.models-dir={models}", "--options.actors=2", "--options.cpus=0.5")
    completed, summary = bulk(cluster, str(source), str(output), *flags)
    assert completed.returncode == 1, completed.stderr
    assert summary["done"] == 41
    assert summary["failed"] == 1
    assert "broken.png" in completed.stderr
    (output / "below/7.png").unlink()
    (source / "broken.png").write_bytes(png(digit(50)))
    kept = {path: path.stat().st_mtime_ns for path in output.glob("below/*.png")}
    completed, summary = bulk(cluster, str(source), str(output), *flags)
    assert completed.returncode == 0, completed.stderr
    assert (summary["done"], summary["skipped"]) == (2, 39)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(output.rglob("*.png"))) == 41
    assert np.asarray(Image.open(output / "below/7.png")).shape == digit().shape[:2]
