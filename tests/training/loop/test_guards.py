"""Guards: what passes, and the messages of rejections."""

from pathlib import Path

import pytest
import torch
from torch import Generator

from training.errors import Collapsed, Diverged, RunError
from training.loop.guards import check_loss_finite, check_not_collapsed, check_same_run, check_weights_finite

ITEMS = torch.rand(20, 6, generator=Generator().manual_seed(0))


@pytest.mark.parametrize(("loss", "norm"), [("nan", "1"), ("inf", "1"), ("-inf", "1"), ("1", "nan"), ("1", "inf")])
def test_nonfinite_values_stop_the_fit(loss: str, norm: str) -> None:
    with pytest.raises(Diverged, match=r"step 4: loss \S+, gradient norm \S+, at learning rate 0\.1, .* 7, 8, "):
        check_loss_finite({"loss": torch.tensor(float(loss))}, torch.tensor(float(norm)), 4, 0.1, torch.arange(7, 20))


def test_finite_values_pass() -> None:
    check_loss_finite({"loss": torch.tensor(1e30)}, torch.tensor(1e30), 0, 0.1, torch.arange(3))


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_nonfinite_weights_are_not_saved(number: str) -> None:
    check_weights_finite([ITEMS, ITEMS], 5)
    with pytest.raises(Diverged, match=r"step 5: the weights .* lower optimizer\.lr"):
        check_weights_finite([ITEMS, torch.tensor([1.0, float(number)])], 5)


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_constant_output_is_a_collapse(constant: float) -> None:
    with pytest.raises(Collapsed, match="step 9"):
        check_not_collapsed(torch.full_like(ITEMS, constant) + 1e-6 * ITEMS, ITEMS, 9)


def test_low_variance_outputs_and_data_pass() -> None:
    check_not_collapsed(0.05 * ITEMS, ITEMS, 9)
    check_not_collapsed(ITEMS[:1].expand(20, 6), ITEMS[:1].expand(20, 6), 9)


def test_recipe_differences_are_named_by_dotted_keys() -> None:
    there, here = {"net": {"code": 4, "hidden": [1]}, "data": "a"}, {"net": {"code": 5, "hidden": [1]}, "seed": 1}
    check_same_run(Path("run"), there, there, non_default=there)
    with pytest.raises(RunError) as refusal:
        check_same_run(Path("run"), there, here, non_default=here)
    assert "data is 'a' there and None here; net.code is 4 there and 5 here; seed is None" in str(refusal.value)


def test_new_recipe_key_does_not_prevent_resuming() -> None:
    before = {"recipe": {"net": {"code": 4}}, "data": "abc"}
    now = {"recipe": {"net": {"code": 4, "draws": 1}}, "data": "abc"}
    check_same_run(Path("run"), before, now, non_default={"recipe": {"net": {"code": 4}}})
    with pytest.raises(RunError, match=r"net.draws is None there and 1 here"):
        check_same_run(Path("run"), before, now, non_default=now)
    with pytest.raises(RunError, match=r"net.draws is 1 there and None here"):
        check_same_run(Path("run"), now, before, non_default=before)
