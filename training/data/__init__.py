"""Data sets in memory, every source on one screen. A new source is one file beside this one and one line here.

Knows no torch and no batches.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator

from training.data.arrays import ArraysSection
from training.data.dataset import Data, Items, Labels, Pixels, Source, hold_out
from training.data.folder import FolderSection
from training.data.idx import IdxSection
from training.data.patches import PatchesSection
from training.data.photos import PhotosSection
from training.data.surface import SurfaceSection

DataSection = Annotated[
    IdxSection | FolderSection | PhotosSection | PatchesSection | ArraysSection | SurfaceSection, Discriminator("name")
]


def load(section: Source, folder: Path | None) -> Data:
    """The data that a recipe names; `folder` is looked into first. Raises DataError with the mend."""
    return section.read(folder).first(section.items)


__all__ = ["Data", "DataSection", "Items", "Labels", "Pixels", "hold_out", "load"]
