"""The threshold of a card: the error that a stated share of held-out items exceeds."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.training import silent, small
from training.cli.options import RunOptions, parse_share
from training.errors import RecipeError
from training.evaluation.metrics import mse_per_item
from training.export.artifact import read_published
from training.export.publish import load_graphs, publish
from training.loop.fit import fit


def test_share_of_held_out_items_is_above_the_threshold(tmp_path: Path) -> None:
    recipe, data = small(tmp_path / "data", model={"false_alarms": 0.25})
    folder, _ = publish(recipe, data, fit(recipe, data, tmp_path / "run", silent()), tmp_path / "models")
    card = read_published(folder)
    assert card.threshold is not None
    assert (card.format, card.threshold.false_alarm_rate) == (2, 0.25)
    errors = mse_per_item(load_graphs(folder)["reconstruct"](data.test), data.test)
    assert np.mean(errors > card.threshold.error) == pytest.approx(0.25)


def test_flag_sets_the_key_of_the_recipe() -> None:
    assert RunOptions(false_alarms="1%", changes=["a.b=1"]).overrides == ["a.b=1", "model.false_alarms=0.01"]
    assert parse_share("0.02") == 0.02
    for text in ("60%", "often", "0"):
        with pytest.raises(RecipeError, match="--false-alarms"):
            parse_share(text)
