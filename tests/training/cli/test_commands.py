"""`hourglass-train`: from a recipe to a published model, and one sentence for every error."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from service.card import read_card
from tests.support.compatibility import refuses
from tests.support.training import call, workplace
from training.cli.commands import app
from training.errors import EXTRA_MODULES, user_message
from training.loop import pace
from training.recipe import from_tables

HERE = ("blobs.toml", "--data", "data")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a recipe and its data."""
    workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOURGLASS_DATA", raising=False)
    return tmp_path


def test_evaluate_and_export_reuse_the_run_of_fit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("blobs.toml", "--data", "data", "--set", "optimizer.epochs=2")
    assert call("fit", *common, "--publish-anyway") == 0
    out, err = capsys.readouterr()
    assert "published models/blobs/1 after 22 steps" in out
    assert "pca-4" in out
    assert not err  # no terminal: no progress bar
    card = read_card((place / "models/blobs/1/card.json").read_bytes())
    assert from_tables(card.recipe).optimizer.epochs == 2
    run = place / "runs/blobs"
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [11, 22]

    assert call("evaluate", *common, "--json") == 0
    measured: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert measured["metrics"]["reconstruct_mse"] == pytest.approx(card.quality.figures["reconstruct_mse"], rel=1e-5)

    assert call("export", *common, "--publish-anyway") == 0
    assert "published models/blobs/2" in capsys.readouterr().out
    first, second = ((place / f"models/blobs/{version}/reconstruct.onnx").read_bytes() for version in (1, 2))
    assert first == second


def test_data_folder_is_read_from_the_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOURGLASS_DATA", str(place / "nowhere"))
    assert call("fit", "blobs.toml") == 1
    assert "nowhere/blobs.npy" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_length(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def steps(*arguments: str) -> str:
        assert call("fit", *HERE, "--publish-anyway", *arguments) == 0
        return capsys.readouterr().out.rpartition(" after ")[2].partition(" in ")[0]

    monkeypatch.setattr(pace, "measure_step", lambda *_: 0.01)
    assert steps("--minutes", "0.00458") == "22 steps"  # 80 % of the time in steps of 10 ms, instead of 4 epochs
    assert steps("--resume") == "22 steps"
    monkeypatch.setattr(pace, "measure_step", lambda *_: 0.02)
    assert steps("--minutes", "0.00458", "--resume") == "22 steps"  # the speed is not measured again
    assert call("export", *HERE, "--publish-anyway") == 0
    card = read_card((place / "models/blobs/4/card.json").read_bytes())
    assert from_tables(card.recipe).optimizer.epochs == 2


@pytest.mark.parametrize(("arguments", "epochs"), [(("--minutes", "0.00687"), 3), (("--set", "optimizer.epochs=5"), 5)])
@pytest.mark.usefixtures("place")
def test_a_resumed_run_of_another_length_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    epochs: int,
) -> None:
    monkeypatch.setattr(pace, "measure_step", lambda *_: 0.01)
    assert call("fit", *HERE, "--publish-anyway", "--minutes", "0.00458") == 0
    capsys.readouterr()
    assert call("fit", *HERE, "--publish-anyway", "--resume", *arguments) == 0
    out = capsys.readouterr().out
    assert f"length: {epochs} epochs, as this command says; the run had 2 before" in out
    assert f"after {11 * epochs} steps" in out
    assert call("fit", *HERE, "--publish-anyway", "--fresh") == 0
    assert "length:" not in capsys.readouterr().out


def test_a_broken_length_of_a_run_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "runs/blobs").mkdir(parents=True)
    (place / "runs/blobs/length.json").write_text("{")
    assert call("fit", *HERE, "--resume") == 1
    assert "length.json is broken" in capsys.readouterr().err


@refuses(28, "uses of `hourglass-train` that fail", because="one sentence with the remedy", cases="{words}")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("fit", "blobs.toml", "--set", "net.cod=3"), 2, "did you mean code?"),
        (("fit", "digit"), 2, "did you mean digits?"),
        (("fit", "blobs.toml"), 1, "blobs.npy: it cannot be read"),
        (("export", "blobs.toml", "--data", "data"), 1, "fit the recipe first"),
        (("evaluate", "blobs.toml", "--data", "data"), 1, "fit the recipe first"),
        (("fit", "blobs.toml", "--data", "data", "--init", "none"), 1, "none cannot be read as a safetensors file"),
        (("fit", "blobs.toml", "--data", "data", "--init", "a", "--resume"), 1, "use only one of them"),
        (
            ("fit", *HERE, "--run", "blobs.toml"),
            1,
            "cannot write a run to blobs.toml (File exists): choose another folder",
        ),
        (("fit", *HERE, "--run", "blobs.toml/below"), 1, "(Not a directory): choose another folder"),
        (("fit", *HERE, "--set", "net.hidden=[1000000000000]"), 1, "not enough memory: reduce the net or the batch"),
        (("fit", *HERE, "--set", "data.test_fraction=0.999"), 1, "cannot be held out, because a part would be empty"),
        (("fit", *HERE, "--set", "optimizer.validation_fraction=0.001"), 1, "or set optimizer.validation_fraction"),
        (("fit", *HERE, "--set", "optimizer.lr=1e38"), 1, "lower optimizer.lr"),
        (("fit", "blobs.toml", "--data", "data", "--set", "optimizer.batch=500"), 1, "set optimizer.batch below"),
    ],
)
@pytest.mark.usefixtures("place")
def test_errors_are_one_sentence_with_the_remedy(
    arguments: tuple[str, ...],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(*arguments) == status
    err = capsys.readouterr().err
    assert err.startswith("hourglass-train: ")
    assert words in err
    assert "Traceback" not in err
    assert not list(Path().glob("models/*"))


@refuses(
    28, "an output that cannot be written, before training starts", because="the folder and the reason", cases="{out}"
)
@pytest.mark.parametrize(("out", "why"), [("blobs.toml", "Not a directory"), ("/proc", "No such file or directory")])
def test_unwritable_output_is_reported_before_fitting(
    place: Path, capsys: pytest.CaptureFixture[str], out: str, why: str
) -> None:
    assert call("fit", *HERE, "--out", out) == 1
    assert capsys.readouterr().err == (
        f"hourglass-train: cannot write models to {out} ({why}): choose another folder with --out\n"
    )
    assert not (place / "runs").exists()


@refuses(28, "a lack of memory", because="one sentence with the remedy")
def test_out_of_memory_is_a_sentence_bugs_show_a_traceback() -> None:
    for error in (MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("CUDA out of memory.")):
        assert "not enough memory" in (user_message(error) or "")
    assert user_message(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


@pytest.mark.parametrize(
    "command", ["fit", "export", "evaluate", "pictures", "noise", "study", "report", "data", "schema"]
)
def test_every_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    assert f"Example: hourglass-train {command}" in capsys.readouterr().out
    assert command in app


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.strip() == version("hourglass")


def test_help_and_data_load_no_torch() -> None:
    code = "import sys, training.__main__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_with_a_sentence_on_how_to_resume(place: Path, number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "fit",
        "blobs.toml",
        "--data",
        "data",
        "--set",
        "optimizer.epochs=100000",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list((place / "runs").glob("*/log.jsonl")) and process.poll() is None:
            sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err.startswith("hourglass-train: stopped at step")
    assert "--resume" in err
    assert len(err.splitlines()) == 1
    assert list((place / "runs/blobs").glob("checkpoint-*.safetensors"))
    assert not (place / "models").exists()


ARGUMENTS = {
    "fit": ("blobs.toml", "--data", "data"),
    "evaluate": ("blobs.toml", "--data", "data"),
    "export": ("blobs.toml", "--data", "data"),
    "pictures": ("blobs.toml", "--data", "data"),
    "noise": ("blobs.toml", "--data", "data"),
    "import": ("mine.onnx", "--operation", "denoise", "--name", "mine"),
    "new": ("anomaly", "data/blobs.npy", "-o", "my.toml"),
    "study": ("linear", "--data", "data"),
    "report": (),
    "schema": (),
}
"""Arguments for each command that needs the packages for training; only `data` does without."""
WITHOUT_EXTRA = """
import sys
import tomllib
from training.errors import EXTRA_MODULES

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRA_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from training.cli.commands import main
main()
"""
"""The command line in an environment that was installed for serving."""


@pytest.mark.parametrize("command", ARGUMENTS)
def test_a_missing_extra_is_named_with_its_remedy(place: Path, command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    arguments = [sys.executable, "-c", WITHOUT_EXTRA, command, *ARGUMENTS[command]]
    done = subprocess.run(arguments, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "needs the extra training" in done.stderr
    assert "pip install -e '.[cpu,training]' in the checkout" in done.stderr
    assert done.returncode == 2


def test_every_command_is_tried_without_the_extra() -> None:
    assert {name for name in app if not name.startswith("-")} == {*ARGUMENTS, "data"}


def test_the_modules_of_the_extra_are_those_of_its_packages() -> None:
    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = {re.split(r"[<>=\[]", package)[0] for package in [*extras["cpu"], *extras["training"]]}
    imported = {{"scikit-learn": "sklearn"}.get(package, package) for package in wanted}
    assert imported == EXTRA_MODULES
