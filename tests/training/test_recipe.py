"""Recipes: what is refused, with which words, and how --set changes them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.training import tables
from training.data.dataset import DataSection
from training.errors import RecipeError
from training.nets.dense import DenseSection
from training.recipe import Recipe, builtin_recipes, from_tables, read_recipe
from training.recipe_errors import RENAMED
from training.schema import StrictModel


def sections(kind: type[StrictModel] = StrictModel) -> list[type[StrictModel]]:
    """Every kind of table, abstract ones too."""
    return [kind, *(deep for child in kind.__subclasses__() for deep in sections(child))]


@pytest.mark.parametrize("name", builtin_recipes())
def test_a_shipped_recipe_is_named_as_its_file(name: str) -> None:
    assert read_recipe(name).model.name == name


def test_a_recipe_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    source = Path("training/recipes/digits.toml").read_text()
    path.write_text(source.replace('name = "digits"', 'name = "mine"'))
    assert read_recipe(str(path)).model.name == "mine"


def test_a_recipe_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read_recipe("digits").optimizer, "lr", 1.0)  # noqa: B010 - the type checker knows it already


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_field_says_what_it_is(section: type[StrictModel]) -> None:
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.epoch=3", "optimizer.epoch: no such key; did you mean epochs?"),
        ("net.cod=3", "net.cod: no such key; did you mean code?"),
        ("modle.name=x", "modle: no such key; did you mean model?"),
        ("net.family=convolutional", "'conv', 'dense'"),
        ("objective.loss=bec", "did you mean bce?"),
        ("objective.penalties.kl_sparsty=1", "did you mean kl_sparsity?"),
        ("optimizer.epochs=many", "optimizer.epochs: Input should be a valid integer"),
        ("optimizer.epochs=3.0", "optimizer.epochs: Input should be a valid integer"),
        ("optimizer.lr=-1", "optimizer.lr: Input should be greater than 0"),
        ("optimizer.lr=nan", "optimizer.lr"),
        ("optimizer.lr=1e39", "optimizer.lr: Input should be less than or equal to"),
        ("optimizer.seed=4294967296", "optimizer.seed: Input should be less than 4294967296"),
        ("corruption.kind=gaussian", "corruption.sigma: Field required"),
        (
            'corruption={kind="mixture", of=[{kind="none"}, {kind="masking", fracton=1}]}',
            "of.1.fracton: no such key; did you",
        ),
        ("net.output=linear", "objective.loss = 'bce' needs net.output = 'sigmoid'"),
        ("optimizer.patience=3", "patience needs a validation_fraction"),
        ('model.operations=["denoise"]', "a net learns to denoise from a [corruption]"),
        ("model.int8=true", "model.int8 is for conv nets"),
        ("augmentation.crop=0", "augmentation.crop"),
        ("augmentation.crop=20", "augmentation.crop is for nets that take any size"),
        ('corruption={kind="gaussian-blind", low=0.5, high=0.1}', "low is above high"),
        ("epochs", "--set takes key=value"),
        ("net.code.x=3", "code is a value, not a table"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_mend(change: str, words: str) -> None:
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
"""Shipped recipes whose tables had the old key; `digits` for the others."""
KINDS = {"fraction": ["corruption.kind=masking"], "probability": ["corruption.kind=dropout"]}


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    key, equals, value = old.partition("=")
    with pytest.raises(RecipeError) as refusal:
        read_recipe(WHERE.get(key, "digits"), [*KINDS.get(new, []), f"{key}={value}" if equals else f"{key}=1.0"])
    told = f"{key}: {value!r} is called {new!r} now" if equals else f"{key}: no such key: it is called {new} now"
    assert told in str(refusal.value).splitlines()[-1]


def test_an_old_name_is_told_where_it_lies_deeper_or_tells_the_kind() -> None:
    mixture = 'corruption={kind="mixture", of=[{kind="none"}, {kind="masking", share=0.5}]}'
    with pytest.raises(RecipeError, match=r"of\.1\.share: no such key: it is called fraction now"):
        read_recipe("digits", [mixture])
    with pytest.raises(RecipeError, match=r"data\.name: no such key: it is called source now"):
        read_recipe("digits", ['data={name="mnist"}'])


def test_an_old_name_is_not_told_where_the_new_one_has_no_place() -> None:
    with pytest.raises(RecipeError) as refusal:
        read_recipe("digits", ["net.step=0.1"])
    assert "quantization_step" not in str(refusal.value)


def test_of_a_source_of_data_the_near_match_is_told() -> None:
    with pytest.raises(RecipeError, match=r"data\.limt: no such key; did you mean limit\?"):
        read_recipe("digits", ["data.limt=4"])


def test_a_net_with_skips_has_no_code_to_publish() -> None:
    with pytest.raises(RecipeError, match="this net offers reconstruct, denoise, not encode"):
        read_recipe("digits-denoise", ['model.operations=["encode"]'])


def test_unreadable_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean digits-sparse"):
        read_recipe("digits-spare")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("net = [")
    with pytest.raises(RecipeError, match="is no TOML"):
        read_recipe(str(tmp_path / "bad.toml"))


def test_what_a_recipe_says_can_be_read_again(tmp_path: Path) -> None:
    recipe = from_tables(tables(tmp_path, corruption={"kind": "masking", "fraction": 0.25}))
    assert isinstance(recipe.net, DenseSection)
    assert from_tables(recipe.model_dump(mode="json")) == recipe


ENCODINGS = {"utf-8 mark": "utf-8-sig", "utf-16": "utf-16", "utf-16 without mark": "utf-16-le", "utf-32": "utf-32"}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_a_recipe_of_another_system_is_read(tmp_path: Path, encoding: str, ends: str) -> None:
    text = Path("training/recipes/digits.toml").read_text().replace("\n", ends)
    (tmp_path / "mine.TOML").write_bytes(text.encode(encoding))
    assert read_recipe(str(tmp_path / "mine.TOML")) == read_recipe("digits")


def test_a_recipe_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"[model]\ntitle = 'Gr\xf6\xdfe'\n")
    with pytest.raises(RecipeError, match="line 2 is not UTF-8: save the file as UTF-8"):
        read_recipe(str(tmp_path / "mine.toml"))


def test_a_backslash_in_double_quotes_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[data]\npath = "C:\\data"\n')
    with pytest.raises(RecipeError, match=r"line 2.*write / for \\, or use single quotes"):
        read_recipe(str(tmp_path / "mine.toml"))
