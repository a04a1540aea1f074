"""MNIST as torchvision, Kaggle and Keras lay it out below a data folder."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.compatibility import accepts
from training.data.downloads import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, DatasetFiles, fetch

RNG = np.random.default_rng(0)
PICTURES = {part: RNG.integers(0, 256, (count, 28, 28), np.uint8) for part, count in (("train", 6), ("test", 3))}
CLASSES = {part: RNG.integers(0, 10, len(pictures), np.uint8) for part, pictures in PICTURES.items()}


def idx(items: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    """The idx file by its definition: two zero bytes, type 8, dimensions, sizes as big-endian 32-bit numbers, data."""
    sizes = b"".join(size.to_bytes(4, "big") for size in items.shape)
    return bytes([0, 0, 8, items.ndim]) + sizes + items.tobytes()


CONTENT = {
    TRAIN_IMAGES: idx(PICTURES["train"]),
    TRAIN_LABELS: idx(CLASSES["train"]),
    TEST_IMAGES: idx(PICTURES["test"]),
    TEST_LABELS: idx(CLASSES["test"]),
}


def find(folder: Path, name: str = "mnist") -> dict[str, bytes]:
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in CONTENT.items()}
    return {
        file: paths.content for file, paths in fetch(DatasetFiles(name, "", hashes, ()), folder, folder / "c").items()
    }


@accepts(
    29, "folders of torchvision", oracle="the bytes of the idx files", cases="{name} in {inside}, compressed: {packed}"
)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "raw"),
        ("mnist", "mnist"),
        ("mnist", "MNIST_data"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("fashion-mnist", "fashionmnist"),
    ],
)
def test_the_folders_of_torchvision_are_found(tmp_path: Path, name: str, inside: str, packed: bool) -> None:
    (tmp_path / inside).mkdir(parents=True)
    for file, content in CONTENT.items():
        path = tmp_path / inside / (f"{file}.gz" if packed else file)
        path.write_bytes(gzip.compress(content) if packed else content)
    assert find(tmp_path, name) == CONTENT


@accepts(
    29,
    "idx files of Kaggle, in folders of their names or not",
    oracle="the bytes of the idx files",
    cases="in folders: {around}",
)
@pytest.mark.parametrize("around", [True, False], ids=["in folders", "plain"])
def test_the_names_of_kaggle_with_a_dot_are_found(tmp_path: Path, around: bool) -> None:
    for file, content in CONTENT.items():
        name = file.replace("-idx", ".idx")
        path = tmp_path / name / name if around else tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert find(tmp_path) == CONTENT


@accepts(29, "tables of Kaggle", oracle="the bytes of the idx files", cases="{name}")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_tables_of_kaggle_are_found(tmp_path: Path, name: str) -> None:
    for part, pictures in PICTURES.items():
        header = ",".join(["label", *(f"pixel{at}" for at in range(784))])
        rows = np.column_stack([CLASSES[part], pictures.reshape(len(pictures), -1)])
        np.savetxt(tmp_path / f"{name}_{part}.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    assert find(tmp_path, name) == CONTENT


@accepts(29, "`mnist.npz` of Keras", oracle="the bytes of the idx files")
def test_the_archive_of_keras_is_found(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "mnist.npz",
        x_train=PICTURES["train"],
        y_train=CLASSES["train"],
        x_test=PICTURES["test"],
        y_test=CLASSES["test"],
    )
    assert find(tmp_path) == CONTENT
