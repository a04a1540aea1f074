"""The flags `--strength` and `--sigma` of `hourglass denoise`, and what models without them answer."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import pixels, png
from tests.service.cli.test_commands import hourglass
from tests.support.tiny_models import publish


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the model `levels`, and a model that takes no level."""
    folder = tmp_path_factory.mktemp("levels")
    publish(folder, "levels")
    publish(folder, "photos")
    return folder


def test_strength_and_sigma_reach_the_model(levels: Path, tmp_path: Path) -> None:
    image = np.full((9, 9, 3), 100, np.uint8)  # the model sees noise of 10 levels, and removes 20 * strength
    (tmp_path / "in.png").write_bytes(png(image))
    run = hourglass("denoise", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", "levels",
                    "--models-dir", levels, "--sigma", "5", "--strength", "1.5")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (pixels((tmp_path / "out.png").read_bytes()) == 100 - 15).all()


@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--strength", "3"), "Must be <= 2"), (("--sigma", "9"), "sigma: the model photos cannot be given the level")],
)
def test_flag_that_cannot_be_obeyed_is_rejected(
    levels: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    (tmp_path / "in.png").write_bytes(png(np.zeros((9, 9, 3), np.uint8)))
    run = hourglass("denoise", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", "photos",
                    "--models-dir", levels, *flags)  # fmt: skip
    assert run.returncode == 2
    assert message in run.stderr
    assert not (tmp_path / "out.png").exists()
