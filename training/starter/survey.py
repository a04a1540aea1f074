"""Looks at data before a recipe is written: images in a folder or an array, or the columns of a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.arrays import SPREADSHEET_SUFFIXES, TABLE_SUFFIXES, as_items, read_arrays
from training.data.columns import MAX_CATEGORIES, RawColumn
from training.data.folder import SUFFIXES, find_pictures, read_image
from training.data.idx import find_idx, is_idx, read_idx_set
from training.data.mapped_array import MAX_MEMORY_BYTES, is_large, open_array
from training.data.parquet import PARQUET_SUFFIXES, read_parquet
from training.data.table import read_raw
from training.errors import DataError
from training.starter.silence import silenced

MAX_SAMPLE = 2000
"""Maximum number of files that are decoded; of more, as many are taken evenly."""
LABEL_NAMES = {"class", "label", "target", "y", "species", "klasse"}
"""Names, in lower case, of columns that are the class of a row."""
MAX_CLASSES = 20
"""Maximum number of classes in a column without a name."""
MAX_ROWS = 1_000_000
"""Maximum number of rows of an array that are looked at."""
MANY_MISSING = 0.5
"""Share of missing values from which a column is left out."""
FEW_ROWS_MISSING = 0.05
"""Share of rows with missing values up to which the rows are left out; of more, the values are filled in."""


@dataclass(frozen=True, slots=True)
class ImageSurvey:
    """Images: how many there are, and the sizes and problems of those that were looked at.

    Attributes:
        path: the folder or file.
        source: the value of `data.source` that reads them.
        count: the number of images.
        looked_at: how many of them were decoded.
        heights: in pixels, of those that can be read.
        widths: in pixels, of those that can be read.
        grey: whether all of them are grey.
        copies: how many are copies of others.
        broken: the files that cannot be read.
    """

    path: Path
    source: str
    count: int
    looked_at: int
    heights: list[int]
    widths: list[int]
    grey: bool
    copies: int = 0
    broken: list[Path] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the summary to print."""
        sample = "" if self.looked_at == self.count else f" (looked at {self.looked_at:,} of them)"
        smallest, largest = (f"{pick(self.widths)}x{pick(self.heights)}" for pick in (min, max))
        sizes = smallest if smallest == largest else f"{smallest} to {largest}, the median {self.median}"
        lines = [
            f"{self.count:,} {'image' if self.count == 1 else 'images'} in {self.path}{sample}",
            f"sizes: {sizes} pixels; {'grey' if self.grey else 'colour'}",
        ]
        if self.copies:
            lines.append(f"copies of others: {self.copies}, which are left out")
        if self.broken:
            names = ", ".join(path.name for path in self.broken[:3]) + (", ..." if len(self.broken) > 3 else "")
            lines.append(f"broken: {len(self.broken)}, which are skipped ({names})")
        return lines

    @property
    def median(self) -> str:
        """The median size as text."""
        return f"{round(float(np.median(self.widths)))}x{round(float(np.median(self.heights)))}"

    @property
    def usable(self) -> int:
        """The number of different images that can be read, extrapolated from those that were looked at."""
        return round(self.count * len(self.heights) / self.looked_at)


@dataclass(frozen=True, slots=True)
class TableSurvey:
    """A table: its size, and what is to be done about its columns, each with the reason.

    Attributes:
        path: the file.
        rows: the number of rows.
        features: the number of numbers in a row that remain.
        drop: the reasons to leave out columns, by their names.
        label: the name of the column that is the class of a row; it is left out. Empty if there is none.
        ordinary: the most frequent class.
        constant: the names of columns that remain and always have the same value.
        one_hot: the names of columns of text that remain.
        missing_rows: the number of rows with missing values in the columns that remain.
        ratio: the ratio of the largest standard deviation of a column to the smallest.
        deviation: the median standard deviation of the columns.
    """

    path: Path
    rows: int
    features: int
    drop: dict[str, str]
    label: str
    ordinary: float | str
    constant: list[str]
    one_hot: list[str]
    missing_rows: int
    ratio: float
    deviation: float

    @property
    def missing(self) -> str:
        """The value of `data.missing`."""
        if not self.missing_rows:
            return "refuse"
        return "drop" if self.missing_rows <= FEW_ROWS_MISSING * self.rows else "mean"

    def lines(self) -> list[str]:
        """Return the summary to print."""
        lines = [f"{self.rows:,} rows of {self.features} numbers in {self.path}"]
        lines += [f"column {name}: left out, {reason}" for name, reason in self.drop.items()]
        if self.one_hot:
            lines.append(f"columns of text: {', '.join(self.one_hot)}, each one-hot encoded")
        if self.missing_rows:
            remedy = "are left out" if self.missing == "drop" else "are filled in with the mean of the column"
            lines.append(f"rows with missing values: {self.missing_rows}, which {remedy}")
        if self.constant:
            lines.append(f"columns that never change: {', '.join(self.constant)}")
        return lines


def survey(path: Path) -> ImageSurvey | TableSurvey:
    """Look at a folder or a file. Raises DataError, with what to do, if there is nothing to train on."""
    if not path.exists():
        raise DataError(f"{path} does not exist: name a folder of images, or a .csv, .npy or idx file")
    if path.is_dir():
        return survey_array(path, "idx", read_idx_set(path).train) if find_idx(path) else survey_folder(path)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        raise DataError(f"{path} is one image, too few to learn from: name a folder of images")
    if suffix in SPREADSHEET_SUFFIXES:
        raise DataError(f"{path} is a spreadsheet: save it as CSV or Parquet")
    if suffix in TABLE_SUFFIXES | PARQUET_SUFFIXES:
        try:
            columns = read_parquet(path) if suffix in PARQUET_SUFFIXES else read_raw(path)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return survey_table(path, columns)
    if is_idx(path):
        return survey_array(path, "idx", read_idx_set(path).train)
    if suffix not in (".npy", ".npz"):
        raise DataError(
            f"{path} is no data that can be read: name a folder of images, a .csv, .parquet, .npy or idx file"
        )
    return _survey_numpy(path)


def survey_folder(root: Path) -> ImageSurvey:
    """Look at the images in a folder. Raises DataError if none can be read, or all are the same."""
    paths = find_pictures(root)
    sample = paths[:: -(-len(paths) // MAX_SAMPLE)]
    heights: list[int] = []
    widths: list[int] = []
    broken: list[Path] = []
    seen: set[bytes] = set()
    grey = True
    with silenced("training.data.folder"):
        for path in sample:
            reading = read_image(path, seen)
            if reading.problem == "broken":
                broken.append(path)
            if reading.pixels is not None:
                heights.append(reading.pixels.shape[0])
                widths.append(reading.pixels.shape[1])
                pixels = reading.pixels[::8, ::8]
                grey &= pixels.shape[2] == 1 or bool((pixels == pixels[:, :, :1]).all())
    if not heights:
        raise DataError(
            f"none of the {len(sample)} images in {root} can be read, for example {sample[0].name}: copy them again, "
            "or save them as PNG or JPEG"
        )
    copies = len(sample) - len(heights) - len(broken)
    if len(heights) == 1 and copies:
        raise DataError(f"all {copies + 1} images in {root} are the same: add different ones")
    return ImageSurvey(root, "folder", len(paths), len(sample), heights, widths, grey, copies, broken)


def survey_array(path: Path, source: str, items: np.ndarray, count: int | None = None) -> ImageSurvey:
    """Describe images uint8 (N, H, W, C) of one size, or a sample of `count` of them."""
    sample, height, width, channels = items.shape
    if (items[:1] == items).all():
        raise DataError(f"all {sample} images in {path} are the same: add different ones")
    return ImageSurvey(path, source, count or sample, sample, [height] * sample, [width] * sample, channels == 1)


def survey_table(path: Path, columns: Sequence[RawColumn], count: int | None = None) -> TableSurvey:
    """Look at the columns of a table of `count` rows, or of a sample of them. Raises DataError if none is of use."""
    drop = {column.name: reason for column in columns if (reason := _reason_to_drop(column))}
    label = _find_label([column for column in columns if column.name not in drop])
    if label:
        drop[label.name] = "it looks like the class of the row"
    kept = [column for column in columns if column.name not in drop]
    numbers = [column.numbers for column in kept if column.numbers is not None]
    texts = [column for column in kept if column.numbers is None]
    if not kept:
        reasons = "; ".join(f"column {name}: {reason}" for name, reason in drop.items())
        raise DataError(f"{path} has no column to learn from ({reasons}): add columns of numbers")
    rows = len(columns[0].numbers if columns[0].numbers is not None else columns[0].texts)
    count = count or rows
    missing = np.zeros(rows, dtype=bool)
    for values in numbers:
        missing |= np.isnan(values)
    deviations = np.array([np.nanstd(values) for values in numbers])
    varying = deviations[deviations > 0]
    if not len(varying) and not texts:
        raise DataError(f"all {rows} rows of {path} are the same: add different ones")
    return TableSurvey(
        path=path,
        rows=count,
        features=len(numbers) + sum(len({text for text in column.texts if text}) for column in texts),
        drop=drop,
        label=label.name if label else "",
        ordinary=_most_frequent(label) if label else "",
        constant=[column.name for column in kept if column.numbers is not None and np.nanstd(column.numbers) == 0],
        one_hot=[column.name for column in texts],
        missing_rows=round(float(missing.mean()) * count),
        ratio=float(varying.max() / varying.min()) if len(varying) else 1.0,
        deviation=float(np.median(varying)) if len(varying) else 1.0,
    )


def _reason_to_drop(column: RawColumn) -> str:
    """Return why a column is left out, or nothing."""
    if column.numbers is not None:
        share = float(np.isnan(column.numbers).mean())
        return f"{share:.0%} of its values are missing" if share >= MANY_MISSING else ""
    levels = {text for text in column.texts if text}
    if len(levels) > MAX_CATEGORIES:
        return f"it has {len(levels)} different texts, such as names or dates"
    return "its text never changes" if len(levels) < 2 else ""


def _find_label(columns: Sequence[RawColumn]) -> RawColumn | None:
    """Return the column that is the class of a row, by its name, or by few whole numbers beside fractions."""
    for column in columns:
        if column.name.lower() in LABEL_NAMES and len(_levels(column)) <= MAX_CATEGORIES and len(columns) > 2:
            return column
    if len(columns) < 4 or not all(column.name.isdecimal() for column in columns):
        return None
    for end, others in ((columns[0], columns[1:]), (columns[-1], columns[:-1])):
        whole = end.numbers is not None and not (end.numbers % 1).any() and len(_levels(end)) <= MAX_CLASSES
        if whole and all(other.numbers is not None and (other.numbers % 1).any() for other in others):
            return end
    return None


def _levels(column: RawColumn) -> set[float | str]:
    return set(column.texts) if column.numbers is None else set(column.numbers.tolist())


def _most_frequent(column: RawColumn) -> float | str:
    values = list(column.texts) if column.numbers is None else column.numbers.tolist()
    value = Counter(values).most_common(1)[0][0]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _survey_numpy(path: Path) -> ImageSurvey | TableSurvey:
    count: int | None = None
    try:
        if is_large(path):
            array = open_array(path)
            count = len(array)
            items = array[:: -(-array.nbytes // MAX_MEMORY_BYTES)]
            items = items if items.ndim == 2 and items.dtype.kind in "fiub" else as_items(items)
        else:
            items = read_arrays(path).train
    except DataError as error:
        if "missing values" not in str(error):
            raise
        with path.open("rb") as file:
            items = np.load(file, allow_pickle=False)
    if items.ndim == 4:
        return survey_array(path, "arrays", items, count)
    sample = items[:: -(-len(items) // MAX_ROWS)]
    columns = [RawColumn(str(number), column.astype(np.float64)) for number, column in enumerate(sample.T, 1)]
    return survey_table(path, columns, count or len(items))
