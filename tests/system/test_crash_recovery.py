"""Training commands that are killed or meet a full disk: no partial file, and the same bits after resuming."""

import multiprocessing
import os
import resource
import signal
import socket
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep
from typing import Any
from unittest.mock import patch

import pytest

from service.repository.layout import Fingerprint, load_card, scan_models
from tests.support.training import call, workplace
from training.loop.checkpoint import read_checkpoint
from training.loop.run_folder import read_log

pytestmark = pytest.mark.slow

EPOCHS = 40
COMMON = (
    "blobs.toml",
    "--data",
    "data",
    "--set",
    f"optimizer.epochs={EPOCHS}",
    "--set",
    "optimizer.checkpoint_every=7",
)
RESUME = ("fit", *COMMON, "--resume")
RUN, MODELS = Path("runs/blobs"), Path("models")

PRELOADED = (
    "training.cli.commands",
    "training.cli.display",
    "training.evaluation.loss_curve",
    "training.evaluation.picture_grid",
    "training.export.publish",
    "training.loop.distributed",
    "onnxscript.function_libs.torch_lib.ops",
    "torch._dynamo",
    "torch.export._trace",
    "networkx",
)
assert all(find_spec(name) for name in PRELOADED), "the fork server ignores modules that cannot be imported"
# Every process is a fork of one that has imported all this and used none of it: real, without seconds of imports each.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([*PRELOADED])


def _obey(place: Path, arguments: tuple[str, ...], environment: dict[str, str], room: int | None, stuck: bool) -> None:
    """Run the command in this process, with its output in a file."""
    os.chdir(place)
    os.environ.update(environment)
    for stream, name in ((1, "out"), (2, environment.get("RANK", "words"))):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    if stuck:
        patch("training.export.publish.write_card", lambda *_: sleep(600)).start()
    raise SystemExit(call(*arguments))


def begin(
    place: Path,
    *arguments: str,
    room: int | None = None,
    stuck: bool = False,
    environment: dict[str, str] | None = None,
) -> BaseProcess:
    """Start a command. `room`: limit of file sizes in bytes. `stuck`: wait after publishing all but the card."""
    options = (place, arguments, environment or {}, room, stuck)
    process = processes.Process(target=_obey, args=options, daemon=True)
    process.start()
    return process


def wait(process: BaseProcess, ready: Callable[[], Any]) -> None:
    """Wait until a condition is true; fail if the process ends first."""
    while not ready():
        assert process.is_alive()
        sleep(0.001)


def end(process: BaseProcess, number: signal.Signals | None = None) -> int | None:
    """Wait for the process and return its exit status; send a signal first if one is given."""
    if number:
        assert process.pid
        os.kill(process.pid, number)
    process.join()
    return process.exitcode


def half(place: Path) -> list[Path]:
    return list(place.rglob(".tmp-*"))


def outcome(place: Path) -> dict[str, Any]:
    """Return the files of a finished run, without times."""
    version = place / MODELS / "blobs" / "1"
    files: dict[str, Any] = {path.name: path.read_bytes() for path in version.iterdir()}
    card = load_card(version)
    files["card.json"] = card.model_copy(update={"made": card.made.model_copy(update={"seconds": 0, "date": None})})
    checkpoint = read_checkpoint(place / RUN)
    assert checkpoint
    tensors = {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()}
    keys = ("epoch", "step", "lr", "train", "validation")
    log = [{key: record[key] for key in keys} for record in read_log(place / RUN)]
    return {**files, "checkpoint": (checkpoint.step, tensors), "log": log}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = workplace(tmp_path_factory.mktemp("undisturbed"))
    assert end(begin(place, "fit", *COMMON)) == 0
    return outcome(place)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return workplace(tmp_path)


def test_killed_run_resumes_to_the_same_bytes(place: Path, undisturbed: dict[str, Any]) -> None:
    for tenth in range(1, 10):
        process = begin(place, *RESUME)
        wait(process, lambda: len(read_log(place / RUN)) >= tenth * EPOCHS // 10)  # noqa: B023 - called at once
        assert end(process, signal.SIGKILL) == -signal.SIGKILL
    for number, status, left in ((signal.SIGTERM, 128 + signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL, 1)):
        process = begin(place, *RESUME, stuck=True)
        wait(process, lambda: list(place.glob("models/blobs/.tmp-*/weights.safetensors")))
        assert end(process, number) == status
        assert len(half(place)) == left
        assert not scan_models(place / MODELS)
    seen: set[Fingerprint] = set()
    process = begin(place, *RESUME)
    while process.is_alive():
        seen.update(version for versions in scan_models(place / MODELS).values() for version in versions.values())
    assert end(process) == 0
    assert len(seen) == 1
    assert outcome(place) == undisturbed
    assert not half(place)


def test_full_disk_keeps_previous_files(place: Path, undisturbed: dict[str, Any]) -> None:
    process = begin(place, *RESUME)
    wait(process, lambda: len(read_log(place / RUN)) >= EPOCHS // 2)
    end(process, signal.SIGKILL)
    before = read_checkpoint(place / RUN)
    assert before
    for command, room, file in (
        (RESUME, 2000, "runs/blobs/log.jsonl"),
        (RESUME, 12000, "runs/blobs/checkpoint-"),
        (RESUME, 20000, "runs/blobs/curve.png"),
        (("export", *COMMON), 4000, "files"),
    ):
        assert end(begin(place, *command, room=room)) == 1
        (words,) = (place / "words").read_text().splitlines()
        assert f"no space left to write {file}" in words
        assert "--resume" in words
        after = read_checkpoint(place / RUN)
        assert after
        assert after.step >= before.step
        assert not half(place)
        assert not (place / MODELS / "blobs").exists()
    assert end(begin(place, *RESUME)) == 0
    assert outcome(place) == undisturbed


def test_second_command_does_not_disturb_a_run(place: Path) -> None:
    first = begin(place, "fit", *COMMON, "--set", "optimizer.epochs=1000000")
    wait(first, lambda: read_log(place / RUN))
    assert end(begin(place, *RESUME)) == 1
    assert "runs/blobs is in use by another run" in (place / "words").read_text()
    assert end(first, signal.SIGTERM) == 128 + signal.SIGTERM


def test_lost_process_of_the_group_is_reported(place: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    endless = ("fit", *COMMON, "--set", "optimizer.epochs=1000000")
    first, second = (begin(place, *endless, environment={"RANK": str(rank), **address}) for rank in range(2))
    wait(first, lambda: list((place / RUN).glob("checkpoint-*")))
    end(second, signal.SIGKILL)
    assert end(first) == 1
    (words,) = (place / "0").read_text().splitlines()
    assert "another process of this fit has ended" in words
    assert read_checkpoint(place / RUN)
