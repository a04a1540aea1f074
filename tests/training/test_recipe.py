"""Recipes: errors and their messages, and changes by --set."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.compatibility import accepts, refuses
from tests.support.training import tables
from training.builtin_recipes import builtin_recipes
from training.data.dataset import DataSection
from training.errors import RecipeError
from training.nets.dense import DenseSection
from training.recipe import Recipe, from_tables, read_recipe
from training.recipe_errors import RENAMED
from training.schema import RecipeTable


def sections(kind: type[RecipeTable] = RecipeTable) -> list[type[RecipeTable]]:
    """Return every section class, abstract ones too."""
    return [kind, *(deep for child in kind.__subclasses__() for deep in sections(child))]


@pytest.mark.parametrize("name", builtin_recipes())
def test_shipped_recipe_has_the_name_of_its_file(name: str) -> None:
    assert read_recipe(name).model.name == name


def test_recipe_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    source = Path("training/recipes/digits.toml").read_text()
    path.write_text(source.replace('name = "digits"', 'name = "mine"'))
    assert read_recipe(str(path)).model.name == "mine"


def test_recipe_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read_recipe("digits").optimizer, "lr", 1.0)  # noqa: B010 - the type checker knows it already


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_recipe_field_has_a_description(section: type[RecipeTable]) -> None:
    tags = {"family", "kind"} | ({"source"} if issubclass(section, DataSection) else set[str]())
    for name, field in section.model_fields.items():
        assert field.description or name in tags or section is Recipe, name


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("optimizer.epochs=3", ("optimizer", "epochs"), 3),
        ("optimizer.lr=2e-3", ("optimizer", "lr"), 0.002),
        ("data.source=fashion-mnist", ("data", "source"), "fashion-mnist"),
        ('model.title="a = b"', ("model", "title"), "a = b"),
        ("model.title=two words", ("model", "title"), "two words"),
        ("net.hidden=[64, 48]", ("net", "hidden"), [64, 48]),
        ("objective.penalties.l1=0.5", ("objective", "penalties"), {"l1": 0.5}),
    ],
)
def test_set_changes_one_key(change: str, key: tuple[str, str], value: Any) -> None:
    changed = read_recipe("digits", [change]).model_dump()
    assert changed[key[0]][key[1]] == value
    changed[key[0]][key[1]] = read_recipe("digits").model_dump()[key[0]][key[1]]
    assert changed == read_recipe("digits").model_dump()


@refuses(28, "invalid values of recipes", because="the key and what would do", cases="{change}")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.epoch=3", "optimizer.epoch: unknown key; did you mean epochs?"),
        ("net.cod=3", "net.cod: unknown key; did you mean code?"),
        ("modle.name=x", "modle: unknown key; did you mean model?"),
        ("net.family=convolutional", "'conv', 'dense'"),
        ("objective.loss=bec", "did you mean bce?"),
        ("objective.penalties.kl_sparsty=1", "did you mean kl_sparsity?"),
        ("optimizer.epochs=many", "optimizer.epochs: must be a valid integer"),
        ("optimizer.epochs=3.0", "optimizer.epochs: must be a valid integer"),
        ("optimizer.lr=-1", "optimizer.lr: must be greater than 0, and is -1"),
        ("optimizer.lr=nan", "optimizer.lr"),
        ("optimizer.lr=1e39", "optimizer.lr: must be less than or equal to"),
        ("optimizer.seed=4294967296", "optimizer.seed: must be less than 4294967296"),
        (
            'corruption={kind="mixture", of=[{kind="none"}, {kind="masking", fracton=1}]}',
            "of.1.fracton: unknown key; did you",
        ),
        ("net.output=linear", "objective.loss = 'bce' needs net.output = 'sigmoid'"),
        ("optimizer.patience=3", "patience needs a validation_fraction"),
        ('model.operations=["denoise"]', "denoise needs a [corruption] to train with"),
        ("model.int8=true", "model.int8 needs net.family = 'conv'"),
        ("augmentation.crop=0", "augmentation.crop"),
        ("augmentation.crop=20", "augmentation.crop needs a net for any size"),
        ('corruption={kind="gaussian-blind", low=0.5, high=0.1}', "low must not be above high"),
        ("epochs", "--set takes key=value"),
        ("net.code.x=3", "code is a value, not a table"),
    ],
)
def test_invalid_recipe_is_rejected_with_the_remedy(change: str, words: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        read_recipe("digits", [change])
    assert words in str(refusal.value)


WHERE = {
    "data.broken": "ten-by-ten",
    "data.detail": "photo",
    "data.test": "points-3d",
    "data.validation": "photo",
    "net.step": "digits-codec",
}
"""Shipped recipes whose sections had the old key; `digits` for the others."""
KINDS = {"fraction": ["corruption.kind=masking"], "probability": ["corruption.kind=dropout"]}


@refuses(28, "keys of earlier versions", because="the new key", cases="{old}")
@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_old_key_is_rejected_with_the_new_one(old: str, new: str) -> None:
    key, equals, value = old.partition("=")
    with pytest.raises(RecipeError) as refusal:
        read_recipe(WHERE.get(key, "digits"), [*KINDS.get(new, []), f"{key}={value}" if equals else f"{key}=1.0"])
    message = f"{key}: {value!r} was renamed to {new!r}" if equals else f"{key}: unknown key; it was renamed to {new}"
    assert message in str(refusal.value).splitlines()[-1]


def test_nested_old_key_or_discriminator_is_suggested() -> None:
    mixture = 'corruption={kind="mixture", of=[{kind="none"}, {kind="masking", share=0.5}]}'
    with pytest.raises(RecipeError, match=r"of\.1\.share: unknown key; it was renamed to fraction"):
        read_recipe("digits", [mixture])
    with pytest.raises(RecipeError, match=r"data\.name: unknown key; it was renamed to source"):
        read_recipe("digits", ['data={name="mnist"}'])


def test_old_key_is_not_suggested_in_other_sections() -> None:
    with pytest.raises(RecipeError) as refusal:
        read_recipe("digits", ["net.step=0.1"])
    assert "quantization_step" not in str(refusal.value)


def test_nearest_data_source_is_suggested() -> None:
    with pytest.raises(RecipeError, match=r"data\.limt: unknown key; did you mean limit\?"):
        read_recipe("digits", ["data.limt=4"])


def test_net_with_skips_cannot_publish_encode() -> None:
    with pytest.raises(RecipeError, match="this net supports reconstruct, denoise, not encode"):
        read_recipe("digits-denoise", ['model.operations=["encode"]'])


@refuses(28, "a recipe that is missing or no TOML", because="the file and the reason")
def test_unreadable_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean digits-sparse"):
        read_recipe("digits-spare")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("net = [")
    with pytest.raises(RecipeError, match="is not valid TOML"):
        read_recipe(str(tmp_path / "bad.toml"))


def test_recipe_round_trips_through_toml(tmp_path: Path) -> None:
    recipe = from_tables(tables(tmp_path, corruption={"kind": "masking", "fraction": 0.25}))
    assert isinstance(recipe.net, DenseSection)
    assert from_tables(recipe.model_dump(mode="json")) == recipe


ENCODINGS = {"utf-8 mark": "utf-8-sig", "utf-16": "utf-16", "utf-16 without mark": "utf-16-le", "utf-32": "utf-32"}


@accepts(
    27,
    "recipes in the encodings and line ends of other systems",
    oracle="the shipped recipe",
    cases="{encoding}, {ends}",
)
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_a_recipe_of_another_system_is_read(tmp_path: Path, encoding: str, ends: str) -> None:
    text = Path("training/recipes/digits.toml").read_text().replace("\n", ends)
    (tmp_path / "mine.TOML").write_bytes(text.encode(encoding))
    assert read_recipe(str(tmp_path / "mine.TOML")) == read_recipe("digits")


@refuses(27, "a recipe that is no UTF-8", because="the line")
def test_a_recipe_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"[model]\ntitle = 'Gr\xf6\xdfe'\n")
    with pytest.raises(RecipeError, match="line 2 is not UTF-8: save the file as UTF-8"):
        read_recipe(str(tmp_path / "mine.toml"))


@refuses(28, "a recipe of another format, an empty one, a name with a blank", because="the message says what to do")
def test_recipes_of_other_kinds_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for name, text, words in (
        ("mine.yaml", "model:\n  name: x\n", "recipes are TOML files"),
        ("empty.toml", "", r"the table \[data\] is missing"),
        ("blank.toml", '[model]\nname = "my net"\n', "'my net' is not allowed; use lower-case letters"),
        ("text.toml", '[optimizer]\nlr = "fast"\n', "must be a valid number.*is 'fast'"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(RecipeError, match=words):
            read_recipe(str(tmp_path / name))


@refuses(27, "a backslash in double quotes", because="the line and what to write")
@pytest.mark.parametrize("folder", [r"C:\data", r"C:\Users\me", r"C:\x"])
def test_a_backslash_in_double_quotes_is_explained(tmp_path: Path, folder: str) -> None:
    (tmp_path / "mine.toml").write_text(f'[data]\npath = "{folder}"\n')
    with pytest.raises(RecipeError, match=r"line 2.*write / for \\, or use single quotes"):
        read_recipe(str(tmp_path / "mine.toml"))
