"""Rows and summary of the study `photos`, from its results."""

from collections.abc import Mapping, Sequence

from training.studies.base.study import Results, Row
from training.studies.photos.figures import LINES, best_psnr

TARGETS = {"photo": {25: (0.3, 0.5)}, "photo-fast": {25: (0.0, 0.1), 50: (0.0, 0.1)}}
"""Target and stretch goal by model and noise level, in dB above BM3D, for colour pictures with clipped noise."""
PAIR_TARGETS = {"photo": (37.9, 38.6), "photo-fast": (37.6, 38.6)}
"""Target and stretch goal by model for pictures with the real noise of cameras, in dB."""
CLEAN_TARGET = 46.0
"""Target for the PSNR in dB of the output for clean pictures."""
SUBSET_TEXT = "every twentieth picture"


def rows(results: Results) -> Sequence[Row]:
    """Return the PSNRs of our models with targets relative to BM3D, and those on clean pictures."""
    table: list[Row] = []
    for name, levels in TARGETS.items():
        for level, (target, stretch) in levels.items():
            psnrs = results["some"][f"colour clipped {level}"]
            bm3d = psnrs.get("BM3D")
            table.append(
                Row(
                    f"{name}, colour, sigma {level}: PSNR in dB on {SUBSET_TEXT}",
                    psnrs[name],
                    f"BM3D with known noise level: {bm3d:.2f}" if bm3d else "BM3D was not installed",
                    "bm3d",
                    round(bm3d + target, 2) if bm3d else None,
                    round(bm3d + stretch, 2) if bm3d else None,
                    higher_is_better=True,
                )
            )
        table.append(
            Row(
                f"{name}: PSNR in dB on clean pictures",
                results["clean"][name],
                "the clean picture",
                target=CLEAN_TARGET,
                higher_is_better=True,
            )
        )
    for name, (target, stretch) in PAIR_TARGETS.items() if "pairs" in results else ():
        table.append(
            Row(
                f"{name}: PSNR in dB on the even pairs of real noise",
                results["pairs"][name],
                f"noisy input: {results['pairs']['noisy input']:.2f}",
                target=target,
                stretch=stretch,
                higher_is_better=True,
            )
        )
    return table


def summary(results: Results) -> str:
    """Return the answer as text."""
    pairs = {"even pairs": results["pairs"]} if "pairs" in results else {}
    real = f"Real noise of cameras (PolyU), PSNR in dB. {_cases_text(pairs)}.\n\n" if pairs else ""
    return real + (
        f"PSNR in dB, averaged over all {results['pictures']} pictures. {_cases_text(results['psnr'])}.\n\n"
        f"The same on the {results['some_pictures']} pictures on which all methods were measured. Non-local means and "
        "BM3D know the noise level and our networks do not; of each filter, the best size is given. "
        f"{_cases_text(results['some'])}."
    )


def _cases_text(cases: Mapping[str, Mapping[str, float]]) -> str:
    """Return the PSNRs of all methods, case by case."""
    return "; ".join(
        f"{case}: {', '.join(f'{name} {value:.2f}' for name in LINES if (value := best_psnr(psnrs, name)) is not None)}"
        for case, psnrs in cases.items()
    )
