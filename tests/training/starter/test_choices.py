"""What `new` sees in data, and the recipe that it writes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.training import pictures, vectors
from training.data.columns import RawColumn
from training.errors import DataError
from training.loop import pace
from training.recipe import read_recipe
from training.starter.choices import choose
from training.starter.draft import Task
from training.starter.survey import ImageSurvey, TableSurvey, survey, survey_table
from training.starter.write import epochs_within, model_name, toml, write_recipe

TASKS: tuple[Task, ...] = ("denoise", "compress", "embed", "anomaly", "generate")


@pytest.fixture(autouse=True)
def short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the speed on one step."""
    monkeypatch.setattr(pace, "PROBE_STEPS", 1)
    monkeypatch.setattr(pace, "WARM_STEPS", 0)


def images(folder: Path, count: int, side: int = 64, mode: str = "RGB") -> Path:
    """Fill a folder with blurred random images."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
        small.resize((side, side)).convert(mode).save(folder / f"image {number}.png")
    return folder


def table(path: Path, text: str) -> TableSurvey:
    """Write a table and look at it."""
    path.write_text(text, "utf-8")
    seen = survey(path)
    assert isinstance(seen, TableSurvey)
    return seen


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["folder", "table", "arrays"])
def test_written_recipe_is_read_as_it_was_chosen(task: Task, kind: str, tmp_path: Path) -> None:
    path = images(tmp_path / "my images", 20) if kind == "folder" else tmp_path / "it's.npy"
    if kind != "folder":
        np.save(path, vectors(80) if kind == "table" else pictures(80))
    seen = survey(path)
    written = write_recipe(task, choose(task, seen), "mine", seen.lines(), 0.001)
    (tmp_path / "mine.toml").write_text(written.text, "utf-8")
    assert read_recipe(str(tmp_path / "mine.toml")) == written.recipe
    codes = ["encode", "decode", "reconstruct"]
    anomaly = ["reconstruct"] if kind != "table" else codes
    assert written.recipe.operations == {"denoise": ["denoise"], "anomaly": anomaly}.get(task, codes)
    assert f"# {seen.lines()[0]}" in written.text


def test_survey_counts_sizes_copies_and_broken_files(tmp_path: Path) -> None:
    root = images(tmp_path / "a", 10, mode="L")
    (root / "copy.png").write_bytes((root / "image 0.png").read_bytes())
    (root / "broken.png").write_bytes(b"no")
    Image.new("L", (90, 30)).save(root / "wide.png")
    seen = survey(root)
    assert isinstance(seen, ImageSurvey)
    assert (seen.count, seen.copies, [path.name for path in seen.broken]) == (13, 1, ["broken.png"])
    assert (seen.grey, seen.usable, max(seen.widths), min(seen.heights)) == (True, 11, 90, 30)
    assert seen.lines()[1] == "sizes: 64x30 to 90x64, the median 64x64 pixels; grey"


def test_images_keep_the_shape_of_the_median(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (100, 200, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    data = choose("anomaly", survey(tmp_path)).data
    assert (data["height"].value, data["width"].value, data["channels"].value) == (32, 64, 3)


def test_anomaly_recipe_of_a_folder_is_that_of_defects(tmp_path: Path) -> None:
    written = write_recipe("anomaly", choose("anomaly", survey(images(tmp_path, 30))), "parts", [], 0.01)
    shipped = read_recipe("defects")
    assert written.recipe.net == shipped.net
    assert written.recipe.corruption == shipped.corruption
    assert written.recipe.operations == shipped.operations == ["reconstruct"]
    assert (written.recipe.optimizer.name, written.recipe.optimizer.lr) == ("muon", shipped.optimizer.lr)


def test_idx_files_are_found_by_their_names(tmp_path: Path) -> None:
    for name, count in (("train", 40), ("t10k", 10)):
        head = np.array([0x803, count, 8, 8], ">u4").tobytes()
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(head + pictures(count).tobytes())
    seen = survey(tmp_path)
    assert isinstance(seen, ImageSurvey)
    assert (seen.source, seen.count, seen.usable, set(seen.heights)) == ("idx", 40, 40, {8})
    data = write_recipe("embed", choose("embed", seen), "a", [], 0.001).recipe.data.read(None)
    assert (len(data.train), len(data.test)) == (40, 10)


def test_columns_of_a_table_are_judged(tmp_path: Path) -> None:
    rows = [
        f"{n},{n % 7 + 0.5},{n * 3.5 if n % 2 else ''},{'rot' if n % 3 else 'blau'},n{n},4,{n % 2}" for n in range(60)
    ]
    seen = table(tmp_path / "t.csv", "id,a,b,colour,name,same,class\n" + "\n".join(rows))
    assert seen.drop == {
        "b": "50% of its values are missing",
        "name": "it has 60 different texts, such as names or dates",
        "class": "it looks like the class of the row",
    }
    assert (seen.one_hot, seen.constant, seen.features, seen.label, seen.ordinary) == (
        ["colour"],
        ["same"],
        4,
        "class",
        0,
    )
    draft = choose("anomaly", seen)
    assert draft.data["rows"].value == {"class": [0]}
    assert draft.data["categories"].value == "one-hot"


def test_class_without_a_name_is_recognized() -> None:
    signal = [RawColumn(str(n), np.random.default_rng(n).normal(size=50)) for n in range(2, 8)]
    seen = survey_table(Path("t"), [RawColumn("1", np.repeat([1.0, 2.0], 25)), *signal])
    assert (seen.label, seen.features) == ("1", 6)


@pytest.mark.parametrize(("share", "policy"), [(0, "refuse"), (0.02, "drop"), (0.3, "mean")])
def test_missing_values_have_a_stated_policy(share: float, policy: str) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3))
    values[: round(100 * share), 0] = np.nan
    seen = survey_table(Path("t"), [RawColumn(name, column) for name, column in zip("abc", values.T, strict=True)])
    assert seen.missing == policy
    assert choose("embed", seen).data["missing"].value == policy if share else True


def test_noise_for_columns_of_different_scales_is_refused() -> None:
    values = np.random.default_rng(0).normal(size=(100, 2)) * [1, 1000]
    seen = survey_table(Path("t"), [RawColumn(name, column) for name, column in zip("ab", values.T, strict=True)])
    with pytest.raises(DataError, match="different scales"):
        choose("denoise", seen)


@pytest.mark.parametrize(
    ("text", "name"),
    [("My Photos 2024", "my-photos-2024"), ("Größe_ä", "groesse-ae"), ("???", "my-model"), ("a" * 90, "a" * 64)],
)
def test_names_of_models_are_made_from_any_text(text: str, name: str) -> None:
    assert model_name(text) == name


@pytest.mark.parametrize("value", ["C:\\new\\train", "it's", 'say "x"', "ü", True, 3, 1e-4, [1, "a"], {"a b": [1]}])
def test_values_are_written_as_toml(value: object) -> None:
    import tomllib

    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


def test_epochs_fit_into_the_minutes() -> None:
    assert epochs_within(10, 0.01, 100) == 200  # at most 20,000 steps
    assert epochs_within(1, 0.1, 10) == 48
    assert epochs_within(0.001, 1.0, 100) == 3  # at least 300 steps
