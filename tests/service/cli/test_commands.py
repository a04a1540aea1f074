"""The `hourglass` command: files and folders without a server, messages, exit status."""

import csv
import json
import subprocess
import sys
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.config import Settings
from service.environment import PREFIX
from tests.conftest import digit, pixels, png
from tests.support.compatibility import accepts, refuses
from tests.support.image_files import waves
from tests.support.tiny_models import CODE, encode_oracle


def hourglass(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": "", **environ})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three digits, a corrupt picture and a file that is no picture."""
    for seed in range(3):
        path = tmp_path / "in" / ("deep" if seed else "") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(digit(seed)))
    (tmp_path / "in/broken.png").write_bytes(png(digit())[:60])
    (tmp_path / "in/notes.txt").write_text("no picture")
    return tmp_path / "in"


def test_picture_is_processed_and_written(models: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "new/out.webp"
    source.write_bytes(png(digit()))
    run = hourglass("denoise", source, "-o", target, "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert target.read_bytes()[8:12] == b"WEBP"
    run = hourglass(
        "denoise",
        source,
        "-o",
        tmp_path / "out.png",
        HOURGLASS_MODELS_DIR=str(models),
        HOURGLASS_DEFAULT_DENOISE="digits",
    )
    assert run.returncode == 0, run.stderr
    assert (pixels((tmp_path / "out.png").read_bytes()) == 255 - digit()[:, :, 0]).all()


def test_folder_is_processed_and_bad_file_is_skipped(models: Path, folder: Path, tmp_path: Path) -> None:
    run = hourglass("denoise", folder, "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    assert run.returncode == 1
    assert "broken.png" in run.stderr
    assert "1 of 4 failed" in run.stderr
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"0.png", "deep/1.png", "deep/2.png"}
    assert (pixels((tmp_path / "out/deep/2.png").read_bytes()) == 255 - digit(2)[:, :, 0]).all()


@accepts(25, "codes as .npy and .csv", oracle="numpy")
def test_codes_are_written_as_npy_and_csv(models: Path, folder: Path, tmp_path: Path) -> None:
    expected = encode_oracle(np.stack([digit(seed) for seed in range(3)]))
    for name in ("codes.npy", "codes.csv"):
        run = hourglass("encode", folder, "-o", tmp_path / name, "--model", "digits", "--models-dir", models)
        assert run.returncode == 1
        assert "3 codes" in run.stderr
    assert np.load(BytesIO((tmp_path / "codes.npy").read_bytes())) == pytest.approx(expected, rel=1e-4)
    head, *rows = csv.reader((tmp_path / "codes.csv").read_text().splitlines())
    assert head == ["file", *(f"c{at}" for at in range(CODE))]
    assert [Path(row[0]).name for row in rows] == ["0.png", "1.png", "2.png"]
    assert np.array([row[1:] for row in rows], float) == pytest.approx(expected, rel=1e-4)


def test_reconstruct_prints_the_error_of_each_file(models: Path, folder: Path, tmp_path: Path) -> None:
    run = hourglass("reconstruct", folder / "deep", "-o", tmp_path / "out", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0
    assert [line.split()[1] for line in run.stdout.splitlines()] == ["mse", "mse"]


@refuses(28, "invalid arguments of `hourglass`", because="one sentence names the argument, status 2")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["denoise", "nowhere.png", "-o", "x.png", "--model", "digits"], "nowhere.png does not exist"),
        (["encode", ".", "-o", "codes.txt", "--model", "digits"], ".npy or .csv"),
        (["denoise", "{folder}", "-o", "{folder}", "--model", "digits"], "overwrite its own source"),
        (["denoise", "{folder}", "-o", "out", "--model", "nobody"], "there is no model nobody; choose by --model"),
        (["denoise", "{folder}", "-o", "out"], "no model is named; choose by --model one that supports denoise: "),
        (["denoise", "{folder}", "-o", "out", "--models-dir", "nowhere"], "the models folder nowhere does not exist"),
        (["models", "--models-dir", "nowhere"], "the models folder nowhere does not exist"),
        (["denoise", "{folder}/0.png", "-o", "out.txt", "--model", "digits"], "cannot write out.txt"),
        (["denoise", "{folder}/0.png", "-o", "out", "--model", "digits"], "cannot write out"),
        (["encode", "{folder}", "-o", "codes.npy", "--model", "photos"], "photos supports denoise, not encode"),
        (["denoise", "{empty}", "-o", "out", "--model", "digits"], "there is no image in"),
        (
            ["serve", "--workers", "0"],
            "hourglass: the flag --workers is the whole number '0', but must be",
        ),
        (["serve", "--port", "[/x]"], "hourglass: the flag --port is the text '[/x]', but must be a whole number"),
        (["serve", "extra"], "hourglass: extra is too much here: see hourglass --help"),
        (["serve", "--image-formats", "png,xyz"], "formats"),
        (["serve", "--api-keys-file", "{folder}/none"], "the keys file {folder}/none cannot be read"),
        (["serve", "--tls-cert-file", "{folder}/notes.txt"], "the certificate {folder}/notes.txt or its key"),
        (["serve", "--nonsense"], "hourglass: Unknown option: --nonsense. hourglass serve --help lists all"),
        (["serve", "--api-keys-file", "none"], "the keys file none cannot be read: No such file or directory"),
        (["serve", "--tls-cert-file", "none"], "HOURGLASS_TLS_CERT_FILE: there is no file none"),
        (["models", "--models-dir", "{folder}/0.png"], "is a file; set it with --models-dir"),
        (["denoise", "{folder}/0.png", "-o", "/proc/x.png", "--model", "digits"], "cannot write /proc/x.png: "),
    ],
)
def test_invalid_arguments_are_rejected_in_one_sentence(
    models: Path, folder: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    words = [word.format(folder=folder, empty=tmp_path / "empty") for word in words]
    run = hourglass(*words, HOURGLASS_MODELS_DIR=str(models))
    assert run.returncode != 0
    assert message.format(folder=folder) in " ".join(run.stderr.split() + run.stdout.split())
    assert "Traceback" not in run.stderr
    assert "pydantic" not in run.stderr


def test_version_is_that_of_the_package() -> None:
    assert hourglass("--version").stdout.strip() == version("hourglass")


@refuses(28, "an unknown or renamed variable", because="it is named with the nearest", cases="{name}")
@pytest.mark.parametrize(
    ("name", "said"),
    [("HOURGLASS_PROT", "HOURGLASS_PROT"), ("HOURGLASS_PORT", "HOURGLASS_PORT in the")],
)
def test_unknown_variable_is_named(name: str, said: str) -> None:
    run = hourglass("serve", **{name: "nine"})
    assert run.returncode == 2
    assert said in run.stderr


def test_help_lists_every_setting_with_its_variable() -> None:
    shown = hourglass("serve", "--help", COLUMNS="200").stdout
    for name in Settings.model_fields:
        assert PREFIX + name.upper() in shown
        assert "--" + name.replace("_", "-") in shown


@pytest.mark.parametrize("command", ["serve", "health", "models", "encode", "reconstruct", "denoise"])
def test_every_help_shows_an_example(command: str) -> None:
    shown = hourglass(command, "--help", COLUMNS="200").stdout
    assert f"Example: hourglass {command}" in " ".join(shown.split())


@accepts(5, "an image too large for its format in a folder: it is written as PNG, with a note", oracle="Pillow")
def test_an_image_too_large_for_its_format_is_written_as_png(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/long.png").write_bytes(png(np.full((16_384, 1, 3), 9, np.uint8)))
    run = hourglass(
        "denoise", tmp_path / "in/long.png", "-o", tmp_path / "long.webp", "--model", "photos", "--models-dir", models
    )
    assert run.returncode == 0, run.stderr
    assert "long.png: written as PNG: a WebP image can have at most 16383 pixels" in run.stderr
    assert (pixels((tmp_path / "long.webp.png").read_bytes()) == 246).all()
    assert not (tmp_path / "long.webp").exists()


def test_the_png_of_an_image_too_large_replaces_no_file(models: Path, tmp_path: Path) -> None:
    source, folder = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    folder.mkdir()
    long = png(np.full((16_384, 1, 3), 9, np.uint8))
    (source / "x.webp").write_bytes(png(np.full((2, 2, 3), 1, np.uint8)))
    (source / "a.webp").write_bytes(long)  # an image under the name of another format
    (source / "a.webp.png").write_bytes(png(np.full((2, 2, 3), 2, np.uint8)))
    (folder / "a.webp-2.png").write_bytes(b"of the user")
    command = ("denoise", source, "-o", folder, "--model", "photos", "--models-dir", models)
    for options in ((), ("--overwrite",), ()):
        run = hourglass(*command, *options, XDG_STATE_HOME=str(tmp_path / "state"))
        assert run.returncode == 0, run.stderr
        assert sorted(path.name for path in folder.iterdir()) == [
            "a.webp-2.png",
            "a.webp-3.png",
            "a.webp.png",
            "x.webp",
        ]
        assert (folder / "a.webp-2.png").read_bytes() == b"of the user"
        assert pixels((folder / "a.webp.png").read_bytes()).shape == (2, 2, 3)
        assert pixels((folder / "a.webp-3.png").read_bytes()).shape == (16_384, 1, 3)
    run = hourglass(*command, "--skip-existing", XDG_STATE_HOME=str(tmp_path / "state"))
    assert "3 skipped because their outputs exist" in run.stderr


def test_json_names_the_file_that_was_written(models: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.full((16_384, 1, 3), 9, np.uint8)))
    command = ("denoise", tmp_path / "a.png", "-o", tmp_path / "b.webp", "--model", "photos", "--models-dir", models)
    (file,) = json.loads(hourglass(*command, "--json").stdout)["files"]
    assert file["output"] == str(tmp_path / "b.webp.png")


def denoised(models: Path, source: Path, *options: str, suffix: str = ".jpg") -> bytes:
    """Return what the command line writes."""
    target = source.with_name(f"out{suffix}")
    run = hourglass(
        "denoise", source, "-o", target, "--model", "photos", "--models-dir", models, "--overwrite", *options
    )
    assert run.returncode == 0, run.stderr
    return target.read_bytes()


def test_the_options_of_images_are_those_of_the_http_api(models: Path, client: TestClient, tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    source.write_bytes(png(waves(40, 60), "JPEG", quality=70, dpi=(300, 300)))
    for query in ("", "quality=35", "metadata=strip", "metadata=keep&quality=100"):
        options = [word for pair in query.split("&") if pair for word in ("--" + pair.replace("=", " ")).split()]
        answer = client.post(f"/denoise?model=photos&{query}", content=source.read_bytes())
        assert denoised(models, source, *options) == answer.content
    with Image.open(BytesIO(denoised(models, source, "--metadata", "strip", suffix=".tif"))) as image:
        assert image.info["dpi"] == (1, 1)  # what Pillow writes for none


def test_a_truncated_image_is_processed_if_allowed(models: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    source.write_bytes(png(waves(160, 200), "JPEG")[:3000])
    command = ("denoise", source, "-o", tmp_path / "out.jpg", "--model", "photos", "--models-dir", models)
    run = hourglass(*command)
    assert run.returncode == 1
    assert "or accept the part by --truncated allow" in run.stderr
    run = hourglass(*command, "--truncated", "allow")
    assert run.returncode == 0, run.stderr
    assert "% of the image is there" in run.stderr
    assert pixels((tmp_path / "out.jpg").read_bytes()).shape == (160, 200, 3)


def test_a_quality_without_effect_is_refused_or_noted(models: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(png(waves(8, 8), "PNG" if "png" in name else "JPEG"))
    command = ("--model", "photos", "--models-dir", models, "--quality")
    run = hourglass("denoise", tmp_path / "a.png", "-o", tmp_path / "out.png", *command, 50)
    assert run.returncode == 2
    assert "--quality applies to JPEG, WebP and AVIF, and the outputs are .png" in run.stderr
    run = hourglass("denoise", tmp_path / "a.png", tmp_path / "b.jpg", "-o", tmp_path / "out/", *command, 50)
    assert run.returncode == 0
    assert "--quality does not apply to 1 outputs (.png)" in run.stderr
    run = hourglass("denoise", tmp_path / "b.jpg", "-o", tmp_path / "out/", *command, 101)
    assert run.returncode == 2
    assert "--quality" in run.stderr


@accepts(10, "suffixes of other systems", oracle="Pillow", cases="{name}")
@pytest.mark.parametrize("name", ["a.jfif", "b.jpe", "c.JPG", "d.TIF", "e.Png"])
def test_suffixes_of_other_systems_are_images(models: Path, tmp_path: Path, name: str) -> None:
    kind = {".tif": "TIFF", ".png": "PNG"}.get(Path(name).suffix.lower(), "JPEG")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(png(np.full((5, 5, 3), 9, np.uint8), kind))
    run = hourglass(
        *("denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", "photos", "--models-dir", models),
        HOURGLASS_IMAGE_FORMATS="png,jpeg,tiff",
    )
    assert run.returncode == 0, run.stderr
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == name
    assert Image.open(BytesIO(written.read_bytes())).format == kind


@accepts(10, "a JPEG that is named .png", oracle="Pillow")
def test_a_jpeg_named_png_becomes_a_real_png(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(np.full((5, 5, 3), 9, np.uint8), "JPEG"))
    run = hourglass(
        "denoise", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", "photos", "--models-dir", models
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_map_of_the_error_is_written(models: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "map.png"
    source.write_bytes(png(digit()))
    run = hourglass("reconstruct", source, "-o", target, "--map", "--model", "digits", "--models-dir", models)
    assert run.returncode == 0, run.stderr
    assert pixels(target.read_bytes()).ndim == 3
    assert "mse" in run.stdout
