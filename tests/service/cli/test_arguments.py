"""Sources and outputs as shells and people write them: several, wildcards, folders to be made, standard streams."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.sources import find_sources
from tests.conftest import digit, pixels, png
from tests.service.cli.test_commands import hourglass
from tests.support.compatibility import accepts, refuses

MODEL = ("--model", "digits")


def pipe(data: bytes, *words: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "service", *map(str, words)]
    return subprocess.run(command, input=data, check=False, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two digits, and a note."""
    (tmp_path / "in").mkdir()
    for seed in range(2):
        (tmp_path / "in" / f"{seed}.png").write_bytes(png(digit(seed)))
    (tmp_path / "in/notes.txt").write_text("no picture")
    return tmp_path / "in"


@accepts(25, "several sources, and a folder that does not exist yet", oracle="the outputs")
def test_several_sources_go_into_a_folder_that_is_made(models: Path, folder: Path, tmp_path: Path) -> None:
    run = hourglass(
        "denoise", folder / "0.png", folder / "1.png", folder / "notes.txt", "-o", tmp_path / "new/out", *MODEL,
        "--models-dir", models,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == ["0.png", "1.png"]
    assert "passed over: 1 .txt" in run.stderr


def test_one_source_goes_into_a_folder_that_ends_in_a_slash(models: Path, folder: Path, tmp_path: Path) -> None:
    run = hourglass("denoise", folder / "0.png", "-o", f"{tmp_path}/new/", *MODEL, "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "new/0.png").exists()


@accepts(25, "wildcards in quotes", oracle="the sources", cases="{pattern}")
@pytest.mark.parametrize("pattern", ["*.png", "[01].png", "?.png", "../**/*.png"])
def test_a_wildcard_in_quotes_is_expanded(folder: Path, pattern: str) -> None:
    matched = find_sources([f"{folder}/{pattern}"], None, lambda _path: False)
    assert [source.name.name for source in matched.files] == ["0.png", "1.png"]


@accepts(25, "a file that is named like a wildcard", oracle="the sources")
def test_a_file_named_like_a_wildcard_is_itself(folder: Path) -> None:
    (folder / "[01].png").write_bytes(png(digit()))
    matched = find_sources([f"{folder}/[01].png"], None, lambda _path: False)
    assert [source.name.name for source in matched.files] == ["[01].png"]


@accepts(25, "a source that is named twice", oracle="the sources")
def test_a_source_that_is_named_twice_is_read_once(folder: Path) -> None:
    matched = find_sources([str(folder / "0.png")] * 2, None, lambda _path: False)
    assert len(matched.files) == 1


@accepts(25, "`~` in quotes", oracle="the outputs")
def test_the_home_folder_is_understood_in_quotes(models: Path, folder: Path) -> None:
    run = hourglass("denoise", "~/0.png", "-o", "~/out/", *MODEL, "--models-dir", models, HOME=str(folder))
    assert run.returncode == 0, run.stderr
    assert (folder / "out/0.png").exists()


@accepts(25, "a name that begins with a dash, after `--`", oracle="the outputs")
def test_a_file_that_begins_with_a_dash_is_read_after_two_dashes(models: Path, tmp_path: Path) -> None:
    (tmp_path / "-x.png").write_bytes(png(digit()))
    command = [sys.executable, "-m", "service", "denoise", "-o", "out/", *MODEL, "--models-dir", models, "--", "-x.png"]
    run = subprocess.run(list(map(str, command)), check=False, capture_output=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out/-x.png").exists()


@accepts(25, "`-` for standard input and output", oracle="Pillow", cases="{kind}")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_standard_input_is_denoised_to_standard_output(models: Path, kind: str) -> None:
    run = pipe(png(digit(), kind), "denoise", "-", "-o", "-", *MODEL, "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert pixels(run.stdout).shape[:2] == digit().shape[:2]
    if kind != "JPEG" and kind != "WEBP":
        assert (pixels(run.stdout) == 255 - digit()[:, :, 0]).all()


def test_codes_of_standard_input_are_printed_as_csv(models: Path) -> None:
    run = pipe(png(digit()), "encode", "-", "-o", "-", *MODEL, "--models-dir", models)
    assert run.returncode == 0, run.stderr
    head, row = run.stdout.decode().splitlines()
    assert head.startswith("file,c0")
    assert row.startswith("standard input,")


@accepts(25, "figures on stderr if stdout holds the image", oracle="both streams")
def test_figures_go_to_stderr_where_stdout_holds_the_image(models: Path, folder: Path) -> None:
    run = pipe(b"", "reconstruct", folder / "0.png", "--output=-", *MODEL, "--models-dir", models)
    assert run.stdout.startswith(b"\x89PNG")
    assert b"mse" in run.stderr


@refuses(25, "arguments that do not fit together", because="the argument and what would do")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["denoise", "{folder}", "-o", "-"], "standard output holds one image, not 2"),
        (["denoise", "-o", "out"], "name at least one image or folder, or - for standard input"),
        (["denoise", "{folder}/*.bmp", "-o", "out"], "no file matches"),
        (["denoise", "{folder}", "-o", "{folder}/notes.txt"], "is a file, and several images need a folder"),
        (["denoise", "-", "-o", "x.png"], "standard input: the image is empty"),
        (["denoise", "{folder}/0.png", "-o", "{folder}/x.heic"], "cannot write x.heic"),
    ],
)
def test_arguments_that_do_not_fit_are_explained(models: Path, folder: Path, words: list[str], message: str) -> None:
    words = [word.format(folder=folder) for word in words]
    run = pipe(b"", *words, *MODEL, "--models-dir", models)
    assert run.returncode in (1, 2)
    assert message in " ".join(run.stderr.decode().split())


@accepts(25, "`--quiet`", oracle="both streams")
def test_a_quiet_run_prints_nothing(models: Path, folder: Path, tmp_path: Path) -> None:
    run = hourglass("denoise", folder, "-o", tmp_path / "out", "-q", *MODEL, "--models-dir", models)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
