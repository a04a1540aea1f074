"""The study of undercomplete codes: its report of stored results, and the entropy of grey pixels."""

from typing import Any

import numpy as np
import pytest

from training.studies.base.packing import pack
from training.studies.undercomplete import STUDY, pixel_entropy

PICTURES = pack(np.full((12, 28, 28, 1), 9, np.uint8))


def net(bce: float, mse: float) -> dict[str, Any]:
    facts = {"parameters": 1000, "seconds": 5.0, "seed": 1}
    return {"bce": bce, "train": mse, "test": mse, "pictures": PICTURES, **facts}


RESULTS = {
    "nets": {"digits": net(0.0905, 0.009), "digits-deep": net(0.09, 0.006), "digits-wide": net(0.07, 0.003)},
    "pca": {"train": 0.015, "test": 0.015},
    "pca_uncut": 0.0168,
    "pca_pictures": PICTURES,
    "originals": PICTURES,
    "entropy": 0.058,
    "fashion": {"net": 0.0126, "pca": 0.0145, "seconds": 9.0},
}


def test_nets_are_compared_with_their_targets() -> None:
    reached = [row.status for row in STUDY.rows(RESULTS)]
    assert reached == ["yes", "", "no", "", "yes", "", ""]
    assert set(STUDY.plot(RESULTS)) == {"pictures", "errors"}
    assert "0.0005 above the stretch goal" in STUDY.summary(RESULTS)


def test_entropy_is_zero_for_black_and_white_pixels_only() -> None:
    assert pixel_entropy(np.array([[0, 255]], np.uint8)) == pytest.approx(0, abs=1e-9)
    grey = 51 / 255
    expected = -(grey * np.log(grey) + (1 - grey) * np.log(1 - grey))
    assert pixel_entropy(np.array([[51, 51, 0, 255]], np.uint8)) == pytest.approx(expected / 2)
