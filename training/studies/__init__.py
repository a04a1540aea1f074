"""The studies, each of which answers one question of the lecture. STUDIES maps their names to them.

To add a study, add a module or package to this package and its `STUDY` to IN_ORDER.
"""

from collections.abc import Sequence

from training.errors import RecipeError
from training.schema import suggestion
from training.studies import (
    compression,
    copying,
    defects,
    denoising,
    faces,
    generation,
    heartbeats,
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
    heartbeats.STUDY,
    defects.STUDY,
)
"""The studies in the order of the report: first those of the lecture, then those that followed from it."""
STUDIES: dict[str, Study] = {study.name: study for study in IN_ORDER}


def find_studies(names: Sequence[str]) -> list[Study]:
    """Return the studies with these names, or all of them for `all`, in the order of the report.

    Raises:
        RecipeError: A name is unknown. The message suggests a similar one.
    """
    for name in names:
        if name not in STUDIES and name != "all":
            raise RecipeError(f"no study {name!r}: {suggestion(name, list(STUDIES))}")
    return [study for name, study in STUDIES.items() if "all" in names or name in names]


__all__ = ["STUDIES", "Results", "Row", "Study", "find_studies"]
