"""Rows and summary of the study `photos`, from its results."""

from collections.abc import Mapping, Sequence

from training.studies.base.study import Results, Row
from training.studies.measures.scores import Scores
from training.studies.photos.figures import LINES, best_scores

PAIR_TARGETS = {"photo": (37.9, 38.6), "photo-fast": (37.6, 38.6)}
"""Target and stretch goal by model for pictures with the real noise of cameras, in dB."""
GAUSSIAN_TARGETS = {15: (33.48, 33.78), 25: (30.82, 31.12), 50: (27.44, 27.74)}
"""Target and stretch goal of `photo` by level, in dB: 0.1 below and 0.2 above the first version."""
BM3D_TARGETS = {"photo": {25: (0.3, 0.5)}, "photo-fast": {25: (0.0, 0.1), 50: (0.0, 0.1)}}
"""Target and stretch goal by model and noise level, in dB above BM3D, for colour pictures with Gaussian noise."""
NOISELESS_TARGET, NOISELESS_STRETCH = 46.0, 50.0
"""Target and stretch goal for the PSNR in dB of the output for pictures without noise."""
ESTIMATE_TARGET = 0.9
"""Target for the share of pictures whose noise level is estimated within 25 %."""
SUBSET_TEXT = "every fortieth picture"


def rows(results: Results) -> Sequence[Row]:
    """Return the rows of real noise, if it was measured, of Gaussian noise, and of pictures without noise."""
    real = _real_noise_rows(results) if "pairs" in results else []
    return [*real, *_gaussian_rows(results), *_bm3d_rows(results["some"]), *_noiseless_rows(results["noiseless"])]


def summary(results: Results) -> str:
    """Return the answer as text."""
    return "\n\n".join(
        [
            *(_real_noise_text(results) if "pairs" in results else ()),
            f"Gaussian noise, colour, PSNR in dB on {SUBSET_TEXT} of {results['pictures']}. Non-local means, OpenCV, "
            "wavelets and BM3D know the noise level, our networks do not; of filters and total variation, the "
            f"best setting is given. {_cases_text(results['some'], 'colour')}. On all pictures: "
            f"{_cases_text(_as_scores(results['psnr']), 'colour')}.",
            f"Pictures without noise, PSNR in dB of the output. {_noiseless_text(results['noiseless'])}.",
        ]
    )


def _real_noise_rows(results: Results) -> Sequence[Row]:
    table: list[Row] = []
    scores = results["pairs"]
    noisy = scores["noisy input"]["psnr"]
    for name, (target, stretch) in PAIR_TARGETS.items():
        label = f"{name}: PSNR in dB on the even pairs of real noise"
        reference = f"noisy input: {noisy:.2f}"
        value = scores[name]["psnr"]
        table.append(Row(label, value, reference, target=target, stretch=stretch, higher_is_better=True))
        gains = results["gains"][name]
        label = f"{name}: pairs of real noise that are worse than the input by more than 0.1 dB"
        reference = f"smallest gain of {results['all_pairs']['pairs']} pairs: {gains['smallest']:+.2f} dB"
        table.append(Row(label, gains["worse"], reference, target=0))
    for name, estimate in results["estimates"].items():
        label = f"{name}: share of pairs whose noise level is estimated within 25 %"
        reference = f"median of estimate over truth: {estimate['median']:.2f}"
        table.append(Row(label, estimate["within"], reference, target=ESTIMATE_TARGET, higher_is_better=True))
    return table


def _gaussian_rows(results: Results) -> Sequence[Row]:
    return [
        Row(
            f"photo: PSNR in dB on all pictures, colour, sigma {level}",
            results["psnr"][f"colour {level}"]["photo"],
            f"first version, for Gaussian noise only: {target + 0.1:.2f}",
            target=target,
            stretch=stretch,
            higher_is_better=True,
        )
        for level, (target, stretch) in GAUSSIAN_TARGETS.items()
    ]


def _bm3d_rows(cases: Mapping[str, Mapping[str, Scores]]) -> Sequence[Row]:
    table: list[Row] = []
    for name, levels in BM3D_TARGETS.items():
        for level, (target, stretch) in levels.items():
            scores = cases[f"colour {level}"]
            bm3d = scores["BM3D"]["psnr"] if "BM3D" in scores else None
            table.append(
                Row(
                    f"{name}, colour, sigma {level}: PSNR in dB on {SUBSET_TEXT}",
                    scores[name]["psnr"],
                    f"BM3D with known noise level: {bm3d:.2f}" if bm3d else "BM3D was not installed",
                    "bm3d",
                    round(bm3d + target, 2) if bm3d else None,
                    round(bm3d + stretch, 2) if bm3d else None,
                    higher_is_better=True,
                )
            )
    return table


def _noiseless_rows(kinds: Mapping[str, Mapping[str, float]]) -> Sequence[Row]:
    return [
        Row(
            f"{name}: PSNR in dB on {kind} without noise",
            value,
            "the picture itself",
            target=NOISELESS_TARGET,
            stretch=NOISELESS_STRETCH,
            higher_is_better=True,
        )
        for kind, values in kinds.items()
        for name, value in values.items()
    ]


def _real_noise_text(results: Results) -> Sequence[str]:
    scores = results["some_pairs"]
    methods = [(name, one) for name in LINES if (one := best_scores(scores, name)) is not None]
    listed = "; ".join(f"{name} {_scores_text(one)}" for name, one in methods)
    ours = "; ".join(f"{name} {_scores_text(one)}" for name, one in results["pairs"].items())
    noisy = results["all_pairs"]["noisy input"]
    gains = ", ".join(f"{name} {noisy + one['mean']:.2f}" for name, one in results["gains"].items())
    return [
        "Real noise of cameras: every fifth of the even pairs of PolyU (Xu et al. 2018), 512x512. No method knows the "
        f"noise level; those that need it get scikit-image's estimate. PSNR in dB, SSIM, FLIP: {listed}.",
        f"On all even pairs: {ours}.",
        f"PSNR in dB on all {results['all_pairs']['pairs']} pairs, of which the odd ones chose the weights: {gains}. "
        "Published are 37.40 for CBM3D, 37.95 for CBDNet and 38.60 for TWSC.",
    ]


def _scores_text(scores: Scores) -> str:
    digits = {"psnr": 2, "ssim": 4, "flip": 4}
    return ", ".join(f"{value:.{digits[name]}f}" for name, value in scores.items())


def _cases_text(cases: Mapping[str, Mapping[str, Scores]], colour: str) -> str:
    """Return the PSNR of all methods, case by case."""
    return "; ".join(
        f"{case.replace(colour, 'sigma')}: "
        + ", ".join(f"{name} {one['psnr']:.2f}" for name in LINES if (one := best_scores(scores, name)) is not None)
        for case, scores in cases.items()
        if case.startswith(colour)
    )


def _as_scores(cases: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, Scores]]:
    return {case: {name: {"psnr": value} for name, value in values.items()} for case, values in cases.items()}


def _noiseless_text(kinds: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{kind}: {', '.join(f'{name} {value:.2f}' for name, value in values.items())}"
        for kind, values in kinds.items()
    )
