"""Data sets in memory. To add a source, add a module to this package and its section to `AnyDataSection`.

Uses neither torch nor batches.
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
    """Return the data set of a `[data]` table. Files are searched in `folder` first.

    Raises DataError, which says how to fix it, if the data is missing or invalid.
    """
    return section.read(folder).head(section.limit)


__all__ = ["AnyDataSection", "Dataset", "Items", "Labels", "Pairs", "Pixels", "hold_out", "load", "split_indices"]
