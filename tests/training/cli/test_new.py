"""`hourglass-train new` and the fit after it: one sentence for all that can be wrong, and no half-written file."""

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.card import read_card
from tests.support.training import call, pictures, vectors
from training import atomic_files
from training.evaluation.metrics import mse_per_item
from training.export.publish import load_graphs
from training.loop import pace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOURGLASS_DATA", raising=False)
    monkeypatch.setattr(pace, "PROBE_STEPS", 5)
    return tmp_path


def test_folder_becomes_a_model_by_two_commands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = place / "my images"
    root.mkdir()
    for number, pixels in enumerate(pictures(60)):
        Image.fromarray(pixels[:, :, 0]).resize((16, 16)).save(root / f"{number}.png")
    assert call("new", "embed", "my images", "-o", "my model.toml", "--minutes", "0.05") == 0
    out = capsys.readouterr().out
    assert "60 images in my images" in out
    assert "next: hourglass-train fit 'my model.toml'" in out
    assert call("fit", "my model.toml") == 0
    out = capsys.readouterr().out
    assert "Better than mean of the training set" in " ".join(out.split())
    assert "steps, about" in out
    assert read_card((place / "models/my-model/1/card.json").read_bytes()).operations == [
        "encode",
        "decode",
        "reconstruct",
    ]


def test_anomaly_model_of_a_folder_shows_a_defect_in_its_error(place: Path) -> None:
    images(40)(place)
    assert call("new", "anomaly", "bad", "-o", "parts.toml", "--minutes", "0.05") == 0
    assert call("fit", "parts.toml", "--false-alarms", "10%", "--set", "optimizer.epochs=60") == 0
    folder = place / "models/parts/1"
    card = read_card((folder / "card.json").read_bytes())
    assert card.operations == ["reconstruct"]
    assert card.threshold is not None
    ordinary = pictures(20, 100)
    damaged = ordinary.copy()
    damaged[:, 2:4, 2:6] = np.where(damaged[:, 2:4, 2:6] > 127, 0, 255)
    run = load_graphs(folder)["reconstruct"]
    errors = [mse_per_item(run(items), items) for items in (ordinary, damaged)]
    assert errors[1].min() > card.threshold.error
    assert np.median(errors[0]) <= card.threshold.error


def test_names_of_columns_are_on_the_card(place: Path) -> None:
    rows = "\n".join(f"{a:.3f};{1000 * b:.1f};{'x' if a > 0.5 else 'y'}".replace(".", ",") for a, b, *_ in vectors(200))
    (place / "table.csv").write_text(f"\ufeffLänge;Gewicht;Art\n{rows}\n", "utf-8")
    assert call("new", "embed", "table.csv", "-o", "t.toml", "--minutes", "0.05") == 0
    assert call("fit", "t.toml", "--publish-anyway") == 0
    card = read_card((place / "models/t/1/card.json").read_bytes())
    assert card.format == 2
    assert [(column.name, column.kind, column.categories) for column in card.columns] == [
        ("Länge", "number", []),
        ("Gewicht", "number", []),
        ("Art", "category", ["x", "y"]),
    ]


def logged(caplog: pytest.LogCaptureFixture, task: str, data: str) -> list[str]:
    """Return the warnings of `new` for a task and data."""
    caplog.clear()
    assert call("new", task, data, "-o", f"{task}.toml", "--minutes", "0.01", "--overwrite") == 0
    return [record.getMessage() for record in caplog.records]


def test_new_warns_of_a_folder_once(
    place: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    images(20)(place)
    shutil.copy(place / "bad/0.png", place / "bad/copy.png")
    (place / "bad/broken.png").write_bytes(b"no image")
    (place / "bad/drawing.svg").write_bytes(b"")
    (place / "bad/empty.png").write_bytes(b"")
    warnings = logged(caplog, "embed", "bad")
    assert warnings == ["bad: left out, because they are empty or of a format that training does not read: 1 .png"]
    out = capsys.readouterr().out
    assert out.count("broken.png") == out.count("copies of others: 1") == 1
    assert call("fit", "embed.toml", "--set", "optimizer.epochs=1", "--publish-anyway") == 0
    assert "broken.png is skipped" in caplog.text  # said again by fit, which may run on another day


def test_new_warns_of_a_table_once(
    place: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{number},{a:.3f},{b:.3f}" for number, (a, b, *_) in enumerate(vectors(60), 1)]
    (place / "t.csv").write_text("\n".join(["id,a,b", *rows, "id,a,b", "61,,1.5"]))
    assert logged(caplog, "embed", "t.csv") == [
        "t.csv: 1 repetitions of the header (id, ...) are left out",
        "t.csv: the first column (id) numbers the rows and is left out",
    ]
    assert "rows with missing values: 1, which are left out" in capsys.readouterr().out


def images(count: int, *, same: bool = False, broken: bool = False) -> Any:
    """Return a function that fills the folder `bad`."""

    def fill(place: Path) -> None:
        (place / "bad").mkdir()
        for number in range(count):
            path = place / "bad" / f"{number}.png"
            Image.fromarray(pictures(1, 0 if same else number)[0, :, :, 0]).save(path)
            if broken:
                path.write_bytes(path.read_bytes()[:20] + bytes([number]))

    return fill


def file(name: str, content: bytes) -> Any:
    """Return a function that writes a file."""
    return lambda place: (place / name).write_bytes(content)


def array(items: Any) -> Any:
    """Return a function that writes bad.npy."""
    return lambda place: np.save(place / "bad.npy", items)


BAD: dict[str, tuple[Any, str, str]] = {
    "empty folder": (
        lambda place: (place / "bad").mkdir(),
        "bad",
        "bad contains no pictures: add some, of the formats",
    ),
    "no folder": (lambda _: None, "bad", "bad does not exist: name a folder of images"),
    "one image": (
        images(1),
        "bad",
        "bad has 1 different image that can be read, too few to learn a code from: use at least",
    ),
    "three images": (images(3), "bad", "bad has 3 different images that can be read, too few"),
    "image itself": (images(1), "bad/0.png", "is one image, too few to learn from: name a folder of images"),
    "all broken": (images(12, broken=True), "bad", "none of the 12 images in bad can be read, for example 0.png"),
    "all the same": (images(12, same=True), "bad", "all 12 images in bad are the same: add different ones"),
    "text": (
        file("bad.csv", b"Dear Sir,\nthis is, after all, a letter.\nYours\n"),
        "bad.csv",
        "bad.csv: line 3 has 1 values",
    ),
    "prose": (file("bad.csv", b"hello\nworld\n"), "bad.csv", "bad.csv"),
    "binary": (
        file("bad.csv", b"\x00\x01" * 100 + b"\x02\x00\x00"),
        "bad.csv",
        "it is no text, whatever its name says",
    ),
    "empty file": (file("bad.csv", b""), "bad.csv", "the file contains no numbers"),
    "constant": (array(np.ones((50, 3))), "bad.npy", "all 50 rows of bad.npy are the same: add different ones"),
    "few rows": (array(vectors(4)), "bad.npy", "bad.npy has 4 rows that can be used, too few to learn from"),
    "one column": (array(vectors(50)[:, :1]), "bad.npy", "has one column of numbers"),
    "all missing": (
        array(np.full((50, 3), np.nan)),
        "bad.npy",
        "(column 1: 100% of its values are missing; column 2: ",
    ),
    "spreadsheet": (file("bad.xlsx", b"PK"), "bad.xlsx", "is a spreadsheet: save it as CSV"),
    "something else": (file("bad.docx", b"PK"), "bad.docx", "is no data that can be read"),
    "pickle": (array(np.array([{}, {}])), "bad.npy", "cannot be read as an array"),
}


@pytest.mark.parametrize(("fill", "data", "words"), BAD.values(), ids=BAD)
def test_bad_data_is_one_sentence_and_no_recipe(
    fill: Any, data: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(place)
    assert call("new", "embed", data, "-o", "my.toml") in (1, 2)
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not list(place.glob("**/*.toml"))
    assert not (place / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "taken.toml"), "taken.toml exists: choose another name with -o, or add --overwrite"),
        (("-o", "nowhere/my.toml"), "nowhere is no folder: make it first"),
        (("-o", "my.json"), "must end in .toml"),
        (("-o", "my.toml", "--minutes", "0"), "--minutes must be above 0"),
    ],
)
def test_bad_output_is_one_sentence(
    arguments: tuple[str, ...], words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(place / "a.npy", vectors(50))
    (place / "taken.toml").write_text("mine")
    assert call("new", "embed", "a.npy", *arguments) == 2
    assert words in capsys.readouterr().err
    assert (place / "taken.toml").read_text() == "mine"


def test_table_with_gaps_trains_by_its_policy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = vectors(60)
    items[:20, 1] = np.nan
    items[:, 2] = 5.0
    np.save(place / "gaps.npy", items)
    assert call("new", "embed", "gaps.npy", "--minutes", "0.02") == 0
    out = capsys.readouterr().out
    assert "rows with missing values: 20, which are filled in with the mean of the column" in out
    assert "columns that never change: 3" in out
    assert call("fit", "gaps-embed.toml", "--publish-anyway") == 0


@pytest.mark.parametrize("spelling", ["~/a b/c.npy", "a b\\c.npy"])
def test_paths_with_blanks_tilde_and_backslashes_are_found(
    spelling: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place))
    (place / "a b").mkdir()
    np.save(place / "a b/c.npy", vectors(50))
    assert call("new", "embed", spelling, "-o", "my.toml", "--minutes", "0.01") == 0
    text = (place / "my.toml").read_bytes()
    (place / "my.toml").write_bytes(b"\xef\xbb\xbf" + text)  # an editor adds a byte order mark
    assert call("evaluate", "my.toml") == 1  # read, but not fitted yet


def test_full_disk_leaves_no_recipe(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(place / "a.npy", vectors(50))

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    assert call("new", "embed", "a.npy", "-o", "my.toml") == 1
    assert "no space left to write my.toml" in capsys.readouterr().err
    assert [path.name for path in place.iterdir() if "toml" in path.name] == []
