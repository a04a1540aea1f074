"""STUDIES: every question of the lecture on one screen. A new one is a file beside this one and a line here."""

from collections.abc import Sequence

from training.errors import RecipeError
from training.schema import suggestion
from training.studies import (
    compression,
    copying,
    denoising,
    faces,
    generation,
    linear,
    patches,
    photos,
    plane,
    points,
    sparsity,
    undercomplete,
)
from training.studies.base.study import Results, Row, Study

IN_ORDER = (
    points.STUDY,
    patches.STUDY,
    linear.STUDY,
    undercomplete.STUDY,
    plane.STUDY,
    generation.STUDY,
    copying.STUDY,
    sparsity.STUDY,
    denoising.STUDY,
    compression.STUDY,
    faces.STUDY,
    photos.STUDY,
)
"""The lecture's, and what came of it."""
STUDIES: dict[str, Study] = {study.name: study for study in IN_ORDER}


def find_studies(names: Sequence[str]) -> list[Study]:
    """The studies of these names, all of them for `all`. Raises RecipeError with the near match of an unknown one."""
    for name in names:
        if name not in STUDIES and name != "all":
            raise RecipeError(f"no study {name!r}: {suggestion(name, list(STUDIES))}")
    return [study for name, study in STUDIES.items() if "all" in names or name in names]


__all__ = ["STUDIES", "Results", "Row", "Study", "find_studies"]
