"""Data sets in memory, every source on one screen. A new source is one file beside this one and one line here.

Knows no torch and no batches.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator

from training.data.arrays import ArraysSection
from training.data.dataset import DataSection, Dataset, Items, Labels, Pairs, Pixels, hold_out, split_indices
from training.data.folder import FolderSection
from training.data.idx import IdxFilesSection, IdxSection
from training.data.patches import PatchesSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection
from training.data.ucr import UcrSection

AnyDataSection = Annotated[
    IdxSection
    | IdxFilesSection
    | FolderSection
    | PhotosSection
    | PatchesSection
    | ArraysSection
    | SurfaceSection
    | UcrSection,
    Discriminator("source"),
]


def load(section: DataSection, folder: Path | None) -> Dataset:
    """The data that a recipe names; `folder` is looked into first. Raises DataError with the mend."""
    return section.read(folder).head(section.limit)


__all__ = ["AnyDataSection", "Dataset", "Items", "Labels", "Pairs", "Pixels", "hold_out", "load", "split_indices"]
