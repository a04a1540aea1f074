"""The study of photographs: the same noise for every method, standard PSNR, cached results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.studies.measures import classical_denoisers
from training.studies.measures.classical_denoisers import ResultCache, fast, slow
from training.studies.photos.measure import STUDY, cases, noisy_pair, psnr

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def results() -> dict[str, Any]:
    """Return results of a study with distinct figures."""
    names = ["noisy input", "photo", "photo-fast", "gaussian 0.8", "gaussian 1.3", "median 3x3"]
    psnrs = {name: 20.0 + number for number, name in enumerate(names)}
    every = {f"{colour} {protocol} {level}": psnrs for colour, protocol, level in cases()}
    some = {case: {**psnrs, "BM3D": 21.1} for case in every}
    return {
        "pictures": 200,
        "some_pictures": 20,
        "psnr": every,
        "some": some,
        "clean": {"photo": 47.0, "photo-fast": 41},
        "pairs": {"noisy input": 35.8, "photo": 38.0, "photo-fast": 37.0},
    }


def test_noise_depends_on_picture_number_only() -> None:
    first, again, other = (noisy_pair(PICTURE, number, "colour", "clipped", 25)[1] for number in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_protocols_differ_in_clipping_only() -> None:
    _, free = noisy_pair(PICTURE, 0, "colour", "unclipped", 50)
    _, cut = noisy_pair(PICTURE, 0, "colour", "clipped", 50)
    assert free.min() < 0
    assert free.max() > 1
    assert (cut == np.round(np.clip(free, 0, 1) * 255) / 255).all()


def test_noise_has_its_level_and_grey_has_one_channel() -> None:
    large = np.full((400, 400, 3), 128, np.uint8)
    clean, noisy = noisy_pair(large, 0, "grey", "unclipped", 25)
    assert clean.shape == (400, 400, 1)
    assert (noisy - clean / 255).std() == pytest.approx(25 / 255, rel=0.02)


def test_psnr_is_of_8_bit_output() -> None:
    clean = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(clean / 255 + 0.4 / 255, clean) == 120.0  # rounded away
    assert psnr((clean + 10.0) / 255, clean) == pytest.approx(20 * np.log10(25.5))
    assert psnr(np.full((4, 4, 3), 7.0), clean) == pytest.approx(20 * np.log10(255 / 155))


def test_every_method_accepts_colour_and_grey() -> None:
    for channels in (1, 3):
        noisy = PICTURE[:, :, :channels] / 255
        for name, method in (fast() | slow()).items():
            assert method(noisy, 0.1).shape == noisy.shape, name


def test_missing_libraries_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical_denoisers, "find_spec", lambda _: None)
    assert slow() == {}


def test_slow_results_are_cached(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> float:
        calls.append(1)
        return 3.5

    file = tmp_path / "below" / "notes.json"
    assert [ResultCache(file).get("a", work), ResultCache(file).get("a", work)] == [3.5, 3.5]
    assert len(calls) == 1


def test_targets_are_those_of_bm3d() -> None:
    rows = {row.label.split(":")[0]: row for row in STUDY.rows(results()) if "real noise" not in row.label}
    assert rows["photo, colour, sigma 25"].target == pytest.approx(21.4)
    assert rows["photo, colour, sigma 25"].status == "no"
    assert rows["photo-fast, colour, sigma 25"].status == "stretch"
    assert rows["photo"].status == "yes"
    assert rows["photo-fast"].status == "no"


def test_targets_on_real_noise_are_absolute() -> None:
    status = {row.label: row.status for row in STUDY.rows(results())}
    assert status["photo: PSNR in dB on the even pairs of real noise"] == "yes"
    assert status["photo-fast: PSNR in dB on the even pairs of real noise"] == "no"
    assert "Real noise" in STUDY.summary(results())
    assert "Real noise" not in STUDY.summary({key: value for key, value in results().items() if key != "pairs"})


def test_filter_is_reported_at_its_best_size() -> None:
    assert "gaussian 24.00" in STUDY.summary(results())
    assert list(STUDY.plot(results())) == ["levels"]
