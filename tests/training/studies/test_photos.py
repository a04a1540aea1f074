"""The study of photographs: the same noise for every method, standard scores, cached results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.data.pairs import PairsSection
from training.studies.measures import classical_denoisers
from training.studies.measures.classical_denoisers import ResultCache, estimate_sigma, fast, slow
from training.studies.measures.scores import mean_scores, psnr, score
from training.studies.photos.gaussian import cases, measure_gaussian, noisy_pair
from training.studies.photos.measure import STUDY
from training.studies.photos.noiseless import blur, diagram, drawing, measure_noiseless, text_page
from training.studies.photos.real_noise import measure_estimates, measure_real_noise

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def results() -> dict[str, Any]:
    """Return results of a study with distinct figures."""
    names = ["noisy input", "photo", "photo-fast", "gaussian 0.8", "gaussian 1.3", "median 3x3"]
    scores = {name: {"psnr": 20.0 + number, "ssim": 0.8, "flip": 0.1} for number, name in enumerate(names)}
    some = {
        f"{colour} {level}": {**scores, "BM3D": {"psnr": 21.1, "ssim": 0.9, "flip": 0.1}} for colour, level in cases()
    }
    return {
        "pictures": 200,
        "psnr": {case: {"photo": 33.5, "photo-fast": 32.0} for case in some},
        "some": some,
        "noiseless": {"photographs": {"photo": 47.0, "photo-fast": 41.0}},
        "pairs": {
            name: {"psnr": value, "ssim": 0.9, "flip": 0.05}
            for name, value in {"noisy input": 35.8, "photo": 38.0, "photo-fast": 37.0}.items()
        },
        "some_pairs": {
            name: {"psnr": value, "ssim": 0.9, "flip": 0.05}
            for name, value in {"noisy input": 35.7, "photo": 37.8, "photo-fast": 36.9, "BM3D": 36.2}.items()
        },
        "all_pairs": {"pairs": 100, "noisy input": 36.0},
        "gains": {
            "photo": {"mean": 2.1, "smallest": -0.2, "worse": 1},
            "photo-fast": {"mean": 2.0, "smallest": 0.1, "worse": 0},
        },
        "estimates": {"photo": {"median": 1.1, "within": 0.95}},
    }


def test_noise_depends_on_picture_number_only() -> None:
    first, again, other = (noisy_pair(PICTURE, number, "colour", 25)[1] for number in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_noisy_picture_is_one_that_a_file_can_hold() -> None:
    _, noisy = noisy_pair(PICTURE, 0, "colour", 50)
    assert (noisy == np.round(np.clip(noisy, 0, 1) * 255) / 255).all()
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_noise_has_its_level_and_grey_has_one_channel() -> None:
    large = np.full((400, 400, 3), 128, np.uint8)
    clean, noisy = noisy_pair(large, 0, "grey", 25)
    assert clean.shape == (400, 400, 1)
    assert (noisy - clean / 255).std() == pytest.approx(25 / 255, rel=0.02)


def test_psnr_is_of_8_bit_output() -> None:
    clean = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(clean / 255 + 0.4 / 255, clean) == 120.0  # rounded away
    assert psnr((clean + 10.0) / 255, clean) == pytest.approx(20 * np.log10(25.5))
    assert psnr(np.full((4, 4, 3), 7.0), clean) == pytest.approx(20 * np.log10(255 / 155))


def test_scores_without_optional_packages_are_psnr_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.studies.measures.scores.find_spec", lambda _: None)
    assert dict(score(PICTURE / 255, PICTURE)) == {"psnr": 120.0}


@pytest.mark.parametrize(("package", "name"), [("skimage", "ssim"), ("flip_evaluator", "flip")])
def test_perceptual_scores_of_equal_and_of_worse_pictures(package: str, name: str) -> None:
    pytest.importorskip(package)
    noisy = noisy_pair(PICTURE, 0, "colour", 50)[1]
    equal, worse = score(PICTURE / 255, PICTURE)[name], score(noisy, PICTURE)[name]
    assert equal == pytest.approx(1.0 if name == "ssim" else 0.0, abs=1e-6)
    assert worse < equal if name == "ssim" else worse > equal + 0.01
    assert 0 < score(noisy[:, :, :1], PICTURE[:, :, :1])[name] < 1


def test_scores_are_averaged_one_by_one() -> None:
    assert mean_scores([{"psnr": 1.0, "ssim": 0.0}, {"psnr": 3.0, "ssim": 1.0}]) == {"psnr": 2.0, "ssim": 0.5}


def test_every_method_accepts_colour_and_grey() -> None:
    for channels in (1, 3):
        noisy = noisy_pair(np.full((24, 32, 3), 128, np.uint8), 0, "colour" if channels == 3 else "grey", 25)[1]
        for name, method in (fast() | slow()).items():
            restored = method(noisy, 25 / 255)
            assert restored.shape == noisy.shape, name
            assert 0 < restored.std() < noisy.std(), name


def test_noise_level_is_estimated() -> None:
    pytest.importorskip("skimage")
    flat = np.full((128, 128, 3), 0.5) + np.random.default_rng(0).normal(0, 0.05, (128, 128, 3))
    assert estimate_sigma(flat) == pytest.approx(0.05, rel=0.1)


def test_missing_libraries_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical_denoisers, "find_spec", lambda _: None)
    assert slow() == {}


def test_slow_results_are_cached(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> dict[str, float]:
        calls.append(1)
        return {"psnr": 3.5}

    file = tmp_path / "below" / "notes.json"
    assert [ResultCache(file).get("a", work), ResultCache(file).get("a", work)] == [{"psnr": 3.5}, {"psnr": 3.5}]
    assert len(calls) == 1


def test_gaussian_noise_is_measured_on_all_and_on_some_pictures(tmp_path: Path) -> None:
    pictures = [np.full((24, 24, 3), 5 * number, np.uint8) for number in range(41)]
    levels: set[float] = set()

    def record(noisy: Any, sigma: float) -> Any:
        levels.add(round(255 * sigma))
        return noisy

    measured = measure_gaussian(pictures, {"input": record}, {"other": record}, ResultCache(tmp_path / "cache.json"))
    assert measured["pictures"] == 41
    assert measured["some"]["grey 25"]["input"] == measured["some"]["grey 25"]["other"]
    expected = [psnr(noisy, clean) for clean, noisy in (noisy_pair(pictures[n], n, "grey", 25) for n in (0, 40))]
    assert measured["some"]["grey 25"]["other"]["psnr"] == pytest.approx(np.mean(expected))
    assert measured["psnr"]["grey 25"]["input"] > measured["psnr"]["grey 50"]["input"]
    assert levels == {15, 25, 50}


@pytest.fixture
def pairs(tmp_path: Path) -> PairsSection:
    """Return a folder with four pairs of noise 2, 4, 6 and 8 of 255."""
    random = np.random.default_rng(0)
    for number in range(4):
        clean = random.integers(60, 190, (512, 512, 3)).astype(np.uint8)
        noisy = np.round(clean + random.normal(0, 2 * number + 2, clean.shape)).astype(np.uint8)
        for end, pixels in (("_clean", clean), ("_noisy", noisy)):
            Image.fromarray(pixels).save(tmp_path / f"{number}{end}.png")
    return PairsSection(path=str(tmp_path))


def test_real_noise_is_scored_on_even_pairs(
    pairs: PairsSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.studies.photos.real_noise.estimate_sigma", lambda _: 0.25)
    cache = ResultCache(tmp_path / "cache.json")
    ours = {"noisy input": lambda noisy, _: noisy, "worse": lambda noisy, _: noisy + 0.05}
    others = {"estimated": lambda noisy, sigma: noisy * 0 + sigma}
    measured = measure_real_noise(pairs, None, ours, others, cache)
    expected = np.mean([20 * np.log10(255 / level) for level in (4, 8)])
    assert measured["pairs"]["noisy input"]["psnr"] == pytest.approx(expected, abs=0.1)
    assert measured["some_pairs"]["noisy input"]["psnr"] == pytest.approx(20 * np.log10(255 / 4), abs=0.1)
    assert measured["some_pairs"]["estimated"]["psnr"] < measured["some_pairs"]["worse"]["psnr"]
    assert measured["all_pairs"]["pairs"] == 4
    assert measured["gains"]["noisy input"] == {"mean": 0, "smallest": 0, "worse": 0}
    assert measured["gains"]["worse"]["worse"] == 4


def test_estimates_are_compared_with_the_true_noise() -> None:
    clean = np.full((64, 64, 3), 128, np.uint8)
    scenes = [(clean, np.round(clean + level * (-1.0) ** np.arange(64)[:, None, None]) / 255) for level in (9, 2, 9, 4)]
    maps = {"ours": lambda images: np.full((len(images), 8, 8), (3.2 / 255) ** 2)}
    assert measure_estimates(scenes, maps)["estimates"]["ours"] == {
        "median": pytest.approx((3.2 / 2 + 3.2 / 4) / 2, rel=1e-3),
        "within": 0.5,  # 3.2 for 4 is, 3.2 for 2 is not
    }


def test_pictures_without_noise_are_of_every_kind() -> None:
    measured = measure_noiseless([PICTURE], {"copy": lambda picture, _: picture})["noiseless"]
    assert list(measured) == ["photographs", "blurred photographs", "text", "diagram", "drawing"]
    assert {scores["copy"] for scores in measured.values()} == {120.0}
    assert blur(PICTURE).std() < 0.2 * PICTURE.std()
    for picture in (text_page(9.0), diagram(), drawing()):
        assert picture.shape == (480, 640, 3)
        assert picture.std() > 20
    assert (text_page(7.0) != text_page(12.0)).any()


def test_targets_are_those_of_bm3d() -> None:
    rows = {row.label.split(":")[0]: row for row in STUDY.rows(results()) if row.source == "bm3d"}
    assert rows["photo, colour, sigma 25"].target == pytest.approx(21.4)
    assert rows["photo, colour, sigma 25"].status == "no"
    assert rows["photo-fast, colour, sigma 25"].status == "stretch"


def test_other_targets_are_absolute() -> None:
    status = {row.label: row.status for row in STUDY.rows(results())}
    assert status["photo: PSNR in dB on the even pairs of real noise"] == "yes"
    assert status["photo-fast: PSNR in dB on the even pairs of real noise"] == "no"
    assert status["photo: pairs of real noise that are worse than the input by more than 0.1 dB"] == "no"
    assert status["photo-fast: pairs of real noise that are worse than the input by more than 0.1 dB"] == "yes"
    assert status["photo: share of pairs whose noise level is estimated within 25 %"] == "yes"
    assert status["photo: PSNR in dB on all pictures, colour, sigma 15"] == "yes"
    assert status["photo: PSNR in dB on all pictures, colour, sigma 25"] == "stretch"
    assert status["photo: PSNR in dB on photographs without noise"] == "yes"
    assert status["photo-fast: PSNR in dB on photographs without noise"] == "no"


def test_study_without_pairs_leaves_out_real_noise() -> None:
    stored = {
        key: value
        for key, value in results().items()
        if key not in ("pairs", "some_pairs", "all_pairs", "gains", "estimates")
    }
    assert "Real noise" in STUDY.summary(results())
    assert "Real noise" not in STUDY.summary(stored)
    assert list(STUDY.plot(results())) == ["real-noise", "levels"]
    assert list(STUDY.plot(stored)) == ["levels"]
    assert not [row for row in STUDY.rows(stored) if "real noise" in row.label]


def test_filter_is_reported_at_its_best_size() -> None:
    assert "gaussian 24.00" in STUDY.summary(results())
