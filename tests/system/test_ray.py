"""Ray: the service as two replicas of Ray Serve, and bulk work by two actors of Ray Data."""

import json
import os
import signal
import subprocess
import sys
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import digit, png
from tests.support.buckets import S3, bucket_server
from tests.support.processes import free_port, until
from tests.support.ray_cluster import ROOT, RayCluster, ray_cluster
from tests.support.tiny_models import publish

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]
BODY = png(digit())
CONFIG = ROOT / "deploy/ray/serve.yaml"
ANSWERS_AFTER = 20
RAY_SECONDS = 180


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3]:
    """Yield a server of the S3 API with the bucket `photos`."""
    with bucket_server("s3", tmp_path_factory.mktemp("bucket")) as server:
        assert isinstance(server, S3)
        server.bucket = "photos"
        server.create_bucket(server.bucket)
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, storage: S3) -> Generator[RayCluster]:
    """Yield a cluster of one machine, whose processes have the credentials of the storage."""
    with ray_cluster(tmp_path_factory.mktemp("ray"), storage.variables(storage.url)) as cluster:
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


def processes(title: str) -> list[int]:
    """Return the processes whose title begins with a text."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended since
            if path.read_bytes().startswith(title.encode()):
                found.append(int(path.parent.name))
    return found


def replicas() -> int:
    """Return the number of processes of replicas."""
    return len(processes("ray::ServeReplica:hourglass:Hourglass"))


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


def objects(cluster: RayCluster, folder: str) -> dict[str, bytes]:
    """Return the objects below a folder of the bucket, as pyarrow reads them."""
    program = f"""
from base64 import b64encode
from pyarrow import fs
system, root = fs.FileSystem.from_uri("s3://photos/{folder}")
for file in system.get_file_info(fs.FileSelector(root, recursive=True)):
    if file.is_file:
        print(file.path.removeprefix(root + "/"), b64encode(system.open_input_stream(file.path).read()).decode())
"""
    completed = cluster.run("python", "-c", program)
    assert completed.returncode == 0, completed.stderr
    lines = [line.split() for line in completed.stdout.splitlines()]
    return {name: b64decode(text) for name, text in lines}


def test_bulk_reads_and_writes_a_bucket_and_continues(cluster: RayCluster, storage: S3, tmp_path: Path) -> None:
    publish(tmp_path / "models", "digits")
    for number in range(40):
        storage.put(f"raw/below/{number}.png", png(digit(number)))
    storage.put("raw/broken.png", b"no image")
    flags = (
        "--options.model=digits",
        f"--options.models-dir={tmp_path / 'models'}",
        "--options.actors=2",
        "--options.cpus=0.5",
    )
    completed, summary = bulk(cluster, "s3://photos/raw", "s3://photos/clean", *flags)
    assert completed.returncode == 1, completed.stderr
    assert (summary["done"], summary["failed"], summary["skipped"]) == (41, 1, 0)
    assert "broken.png: the data are not an image" in completed.stderr
    images = objects(cluster, "clean")
    assert set(images) == {f"below/{number}.png" for number in range(40)}
    assert np.asarray(Image.open(BytesIO(images["below/7.png"]))).shape == digit().shape[:2]
    storage.put("raw/late.png", png(digit(50)))
    completed, summary = bulk(cluster, "s3://photos/raw", "s3://photos/clean", *flags)
    assert completed.returncode == 1, completed.stderr
    assert (summary["done"], summary["failed"], summary["skipped"]) == (2, 1, 40)  # the late and the broken one
    assert objects(cluster, "clean").keys() == {*images, "late.png"}


def test_bulk_names_an_image_that_cannot_be_written(cluster: RayCluster, storage: S3, tmp_path: Path) -> None:
    publish(tmp_path / "models", "digits")
    storage.put("one/a.png", png(digit()))
    arguments = ("--options.model=digits", f"--options.models-dir={tmp_path / 'models'}")
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.png").mkdir()  # in the way of the file
    completed, summary = bulk(cluster, "s3://photos/one", str(output), *arguments)
    assert completed.returncode == 1, completed.stderr
    assert (summary["done"], summary["failed"]) == (1, 1)
    assert "a.png: " in completed.stderr


def test_bulk_replaces_an_actor_that_dies(cluster: RayCluster, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    publish(tmp_path / "models", "digits")
    source.mkdir()
    names = {f"{number}.png" for number in range(2000)}
    for name in names:
        (source / name).write_bytes(BODY)
    command = [cluster.python, "-m", "service.cli.ray_bulk", str(source), str(output), "--json-summary"]
    command += ["--options.model=digits", f"--options.models-dir={tmp_path / 'models'}"]
    driver = subprocess.Popen(command, env=cluster.environ, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: any(output.glob("*.png")), RAY_SECONDS)
        (actor,) = processes("ray::MapWorker(MapBatches(BulkWorker))")
        os.kill(actor, signal.SIGKILL)
        assert len(list(output.glob("*.png"))) < len(names)  # it died in the middle
        printed, _ = driver.communicate(timeout=RAY_SECONDS)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0
    summary = json.loads(printed.splitlines()[-1])
    assert (summary["done"], summary["failed"]) == (len(names), 0)
    assert {path.name for path in output.glob("[0-9]*.png")} == names
