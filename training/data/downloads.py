"""Finds the files of MNIST and Fashion-MNIST in the layouts of other libraries, or downloads them.

Every file is verified by its SHA-256, so it does not matter where it comes from. Uses no torch.
"""

import gzip
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Literal
from urllib.request import urlopen
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from training import atomic_files
from training.data.table import read_table
from training.errors import DataError

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 << 20  # no file is larger, compressed or not
TIMEOUT_SECONDS = 30.0
OTHER_FOLDERS = {
    "mnist": ("MNIST", "MNIST_data", "mnist-in-csv"),
    "fashion-mnist": ("FashionMNIST", "fashionmnist"),
}
"""Names of the data sets' folders in torchvision and Kaggle."""
IdxName = Literal["mnist", "fashion-mnist"]


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """The four idx files of a data set.

    `files`: SHA-256 of the decompressed bytes by file name. `urls`: addresses of folders with the files as .gz.
    `folders`: folders of this system to search.
    """

    name: str
    licence: str
    files: dict[str, str]
    urls: tuple[str, ...]
    folders: tuple[Path, ...] = ()


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

DATASETS: dict[IdxName, DatasetFiles] = {
    "mnist": DatasetFiles(
        name="mnist",
        licence="CC-BY-SA-3.0 (Yann LeCun, Corinna Cortes)",
        files={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://azureopendatastorage.blob.core.windows.net/mnist/",
        ),
    ),
    "fashion-mnist": DatasetFiles(
        name="fashion-mnist",
        licence="MIT (Zalando SE)",
        files={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        urls=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        folders=(Path("/usr/share/datasets/fashion-mnist"),),
    ),
}


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A verified file: its path, and its decompressed bytes."""

    path: Path
    content: bytes


def cache_folder() -> Path:
    """Return the folder of downloads: hourglass/ in $XDG_CACHE_HOME, or else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hourglass"


def fetch(dataset: DatasetFiles, folder: Path | None, cache: Path) -> dict[str, VerifiedFile]:
    """Return every file of the data set by name, from `folder`, the system or the cache, else downloaded to the cache.

    A file with another SHA-256 is skipped with a warning. Raises DataError if a file is neither found nor downloaded.
    """
    return {name: _locate(dataset, name, folder, cache) or _download(dataset, name, cache) for name in dataset.files}


def _locate(dataset: DatasetFiles, name: str, folder: Path | None, cache: Path) -> VerifiedFile | None:
    for place in (*_places(dataset, folder), *dataset.folders, cache / dataset.name):
        for path in _spellings(place, name):
            if path.is_file():
                content = _unpack(path.read_bytes())
                if _has_sha256(content, dataset.files[name]):
                    return VerifiedFile(path, content)
                log.warning("%s is skipped: its content does not have the SHA-256 of %s", path, name)
    return repacked_file(dataset, name, _places(dataset, folder))


def _places(dataset: DatasetFiles, folder: Path | None) -> tuple[Path, ...]:
    """Return the folders below a data folder into which torchvision, Kaggle and Keras put the files."""
    if folder is None:
        return ()
    names = {
        "mnist": ("MNIST", "mnist", "MNIST_data", "mnist-in-csv"),
        "fashion-mnist": ("FashionMNIST", "fashionmnist"),
    }
    places = [folder, *(folder / name for name in (dataset.name, *names.get(dataset.name, ())))]
    return tuple(place / inner for place in places for inner in ("", "raw"))


def _spellings(place: Path, name: str) -> tuple[Path, ...]:
    """Return the possible paths of a file. Some archives write `.idx` for `-idx`, or have a folder of the same name."""
    dotted = name.replace("-idx", ".idx")
    plain = tuple(place / f"{spelling}{end}" for spelling in (name, dotted) for end in ("", ".gz"))
    return (*plain, place / name / name, place / dotted / dotted)


def _download(dataset: DatasetFiles, name: str, cache: Path) -> VerifiedFile:
    place = cache / dataset.name
    place.mkdir(parents=True, exist_ok=True)
    for url in dataset.urls:
        try:
            packed = b"".join(_stream(f"{url}{name}.gz"))
        except (OSError, HTTPException) as error:
            log.warning("%s%s.gz cannot be downloaded: %s", url, name, error)
            continue
        content = _unpack(packed)
        if _has_sha256(content, dataset.files[name]):
            path = place / f"{name}.gz"
            atomic_files.write_atomic(path, packed)
            return VerifiedFile(path, content)
        log.warning("%s%s.gz is skipped: its content does not have the right SHA-256", url, name)
    names = ", ".join(f"{file}.gz" for file in dataset.files)
    raise DataError(
        f"{name} of {dataset.name} is neither on this machine nor can it be downloaded: put {names} into {place}, or "
        "name their folder by --data"
    )


def _stream(url: str) -> Iterator[bytes]:
    """Yield the body of a response in chunks. Raises OSError if it is larger than MAX_FILE_BYTES."""
    size = 0
    with urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - only the addresses of the table above
        while chunk := response.read(1 << 20):
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                raise OSError(f"more than {MAX_FILE_BYTES} bytes")
            yield chunk


def _unpack(content: bytes) -> bytes:
    """Decompress a gzip file, and return other bytes unchanged. A broken file becomes b"", which fails every check."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.open(BytesIO(content)) as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def repacked_file(dataset: DatasetFiles, name: str, places: Sequence[Path]) -> VerifiedFile | None:
    """Return an idx file of the data set, converted from Keras' .npz or Kaggle's CSV; None if neither is there."""
    part = "train" if name.startswith("train") else "test"
    kaggle = (f"{dataset.name}_{part}.csv", f"{part}.csv")
    for path in [place / file for place in places for file in (f"{dataset.name}.npz", *kaggle)]:
        if not path.is_file():
            continue
        try:
            pictures, labels = _read_npz(path, part) if path.suffix == ".npz" else _read_kaggle(path)
        except (OSError, ValueError, KeyError, BadZipFile, DataError) as error:
            log.warning("%s is skipped: %s", path, error)
            continue
        content = _to_idx(pictures if "images" in name else labels)
        if _has_sha256(content, dataset.files[name]):
            return VerifiedFile(path, content)
        log.warning("%s is skipped: it does not contain the values of %s", path, name)
    return None


def _read_npz(path: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[f"x_{part}"].astype(np.uint8), arrays[f"y_{part}"].astype(np.uint8)


def _read_kaggle(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pictures (N, 28, 28) and labels (N,) of a table with a header, a label and 784 grey levels per line."""
    table = read_table(path)
    if table.shape[1] != 785:
        raise DataError(f"it has {table.shape[1]} columns instead of 785, a label and 784 pixels")
    return table[:, 1:].astype(np.uint8).reshape(-1, 28, 28), table[:, 0].astype(np.uint8)


def _to_idx(items: NDArray[np.uint8]) -> bytes:
    """Return the bytes of an idx file of pictures (N, H, W) or labels (N,)."""
    magic = 0x0800 | items.ndim
    return np.array([magic, *items.shape], ">u4").tobytes() + items.tobytes()


def _has_sha256(content: bytes, sha256: str) -> bool:
    return hashlib.sha256(content).hexdigest() == sha256
