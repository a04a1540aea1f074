"""What the study of photographs found, in rows and in words."""

from collections.abc import Sequence

from training.studies.base.study import Results, Row
from training.studies.photos.figures import LINES, best_psnr

TARGETS = {"photo": {25: (0.3, 0.5)}, "photo-fast": {25: (0.0, 0.1), 50: (0.0, 0.1)}}
"""Decibels over BM3D, in colour under clipped noise: to pass, and to be proud of."""
CLEAN_TARGET = 42.0
"""Decibels that a picture without noise is to keep."""
SUBSET_TEXT = "every twentieth picture"


def rows(results: Results) -> Sequence[Row]:
    found: list[Row] = []
    for name, levels in TARGETS.items():
        for level, (bar, stretch) in levels.items():
            some = results["some"][f"colour clipped {level}"]
            rival = some.get("BM3D")
            found.append(
                Row(
                    f"{name}, colour, sigma {level}: PSNR in dB on {SUBSET_TEXT}",
                    some[name],
                    f"BM3D, told the level: {rival:.2f}" if rival else "BM3D was not installed",
                    "bm3d",
                    round(rival + bar, 2) if rival else None,
                    round(rival + stretch, 2) if rival else None,
                    higher_is_better=True,
                )
            )
        kept = results["clean"][name]
        found.append(
            Row(
                f"{name}: PSNR in dB of clean pictures",
                kept,
                "the picture itself",
                target=CLEAN_TARGET,
                higher_is_better=True,
            )
        )
    return found


def summary(results: Results) -> str:
    lines = [
        f"{case}: "
        + ", ".join(f"{name} {value:.2f}" for name in LINES if (value := best_psnr(found, name)) is not None)
        for case, found in results["psnr"].items()
    ]
    gaps = [
        f"{case}: {', '.join(f'{name} {value:.2f}' for name in LINES if (value := best_psnr(found, name)) is not None)}"
        for case, found in results["some"].items()
    ]
    return (
        f"PSNR in dB, averaged over all {results['pictures']} pictures. {'; '.join(lines)}.\n\n"
        f"The same on the {results['some_pictures']} pictures that the others were given; non-local means and BM3D "
        f"are told the noise's level, which our nets are not, and of filters the best size is told. {'; '.join(gaps)}."
    )
