"""Trains two denoisers with public libraries only, and imports them with no convention stated by flags.

One is a PyTorch net on N,C,H,W in -1..1 with the colors as OpenCV reads them (BGR), one a Keras net on N,H,W,C in
0..255. The answers of `POST /denoise` must beat the noisy input by 2 dB on photographs that neither training nor
import saw. Run it as `python -m benchmarks.foreign_models --data FOLDER` (default: HOURGLASS_DATA); it needs
`pip install keras` besides the extra `training`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.load import Request
from benchmarks.process import Server, free_port
from training.data.folder import find_pictures, read_pictures

os.environ.setdefault("KERAS_BACKEND", "torch")

Array = NDArray[Any]
PATCH, BATCH = 32, 16
SIGMAS = (0.0, 55.0)
"""Range of the standard deviation of the noise in gray levels, drawn for each patch."""
TEST_SIGMA, MIN_GAIN_DB = 25.0, 2.0
PHOTOGRAPHS, HELD_OUT = 32, 4
"""Photographs that are read, and those of them that are not trained on."""
IMPORTER_SOURCE = "budgie-"
"""Photographs whose names begin so are skipped: the importer tries models on crops of them."""


def photographs(folder: Path) -> list[Array]:
    """Return photographs of a folder, evenly spaced in the order of their names: uint8 (H, W, 3)."""
    files = [file for file in find_pictures(folder) if not file.name.startswith(IMPORTER_SOURCE)]
    chosen = np.linspace(0, len(files) - 1, min(PHOTOGRAPHS, len(files))).round().astype(int)
    return list(read_pictures([files[index] for index in chosen], 0.1, colour=True))


def patches(images: list[Array], steps: int) -> Iterator[tuple[Array, Array]]:
    """Yield batches of noisy and clean patches float32 (BATCH, PATCH, PATCH, 3) in 0..255, RGB, clipped and rounded."""
    random = np.random.default_rng(0)
    for _ in range(steps):
        clean = np.empty((BATCH, PATCH, PATCH, 3), np.float32)
        for patch in clean:
            image = images[random.integers(len(images))]
            top, left = (random.integers(side - PATCH + 1) for side in image.shape[:2])
            patch[:] = image[top : top + PATCH, left : left + PATCH]
        sigma = random.uniform(*SIGMAS, (BATCH, 1, 1, 1))
        noisy = clean + sigma * random.standard_normal(clean.shape)
        yield np.rint(np.clip(noisy, 0, 255)).astype(np.float32), clean


def train_torch(images: list[Array], steps: int, file: Path) -> None:
    """Train a DnCNN (Zhang et al. 2017) without residual on N,C,H,W in -1..1 and BGR, and export it with any sides."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Conv2d(24, 3, 3, padding=1))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for noisy, clean in patches(images, steps):
        x, y = (
            torch.from_numpy(np.ascontiguousarray(part[..., ::-1].transpose(0, 3, 1, 2))) / 127.5 - 1
            for part in (noisy, clean)
        )
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        schedule.step()
    sides = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        net.eval(), (torch.zeros(1, 3, 64, 64),), file, dynamo=False, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": sides, "output": sides}, opset_version=11,
    )  # fmt: skip


def train_keras(images: list[Array], steps: int, file: Path) -> None:
    """Train four convolutions of Keras that predict the noise, on N,H,W,C in 0..255, and export them with any sides."""
    import keras  # pyright: ignore[reportMissingImports] - an optional package

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    x = scaled
    for _ in range(3):
        x = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    noise = keras.layers.Conv2D(3, 3, padding="same")(x)
    outputs = keras.layers.Rescaling(255.0)(keras.layers.Subtract()([scaled, noise]))
    net = keras.Model(inputs, outputs)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    net.compile(optimizer=keras.optimizers.Adam(schedule), loss="mse")
    for noisy, clean in patches(images, steps):
        net.train_on_batch(noisy, clean)
    net.export(file, format="onnx", verbose=False)


TRAININGS: dict[str, Callable[[list[Array], int, Path], None]] = {"torch-bgr": train_torch, "keras-255": train_keras}


def gain(server: Server, model: str, images: list[Array]) -> float:
    """Return the mean gain in dB of POST /denoise over the noisy input, on crops of images as PNG."""
    random = np.random.default_rng(1)
    gains: list[float] = []
    for image in images:
        clean = image[:301, :299]
        noisy = np.rint(np.clip(clean + TEST_SIGMA * random.standard_normal(clean.shape), 0, 255)).astype(np.uint8)
        request = Request(f"/denoise?model={model}", png(noisy), "image/png")
        answer = np.asarray(Image.open(BytesIO(server.post(request))).convert("RGB"))
        errors = [np.square(one.astype(np.float64) - clean).mean() for one in (noisy, answer)]
        gains.append(10 * float(np.log10(errors[0] / errors[1])))
    return float(np.mean(gains))


def png(image: Array) -> bytes:
    """Encode an image uint8 (H, W, 3) as PNG."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def serve(models: Path) -> Server:
    """Start the service with a folder of models on a free port."""
    port = free_port()
    return Server(
        "hourglass",
        [sys.executable, "-m", "service", "serve", "--port", str(port)],
        port=port,
        cores="0-" + str((os.cpu_count() or 1) - 1),
        log=models / "serve.log",
        ready="/readyz",
        environ={"HOURGLASS_MODELS_DIR": str(models)},
    ).wait(60)


def import_without_flags(file: Path, models: Path) -> None:
    """Import an ONNX file as a denoiser with no convention stated. Its findings are printed."""
    command = [sys.executable, "-m", "training", "import", str(file), "--operation", "denoise", "--name", file.stem]
    subprocess.run([*command, "--out", str(models)], check=True)


def main() -> None:
    """Train, import and measure both; exit with 1 if one gains less than MIN_GAIN_DB."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("HOURGLASS_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data, help="folder of photographs")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--keep", type=Path, help="folder to keep the ONNX files in, and to take them from")
    options = parser.parse_args()
    images = photographs(options.data)
    with tempfile.TemporaryDirectory() as scratch:
        folder, models = options.keep or Path(scratch), Path(scratch) / "models"
        for part in (folder, models):
            part.mkdir(parents=True, exist_ok=True)
        for name, train in TRAININGS.items():
            file = folder / f"{name}.onnx"
            if not file.exists():
                train(images[HELD_OUT:], options.steps, file)
            import_without_flags(file, models)
        with serve(models) as server:
            gains = {name: gain(server, name, images[:HELD_OUT]) for name in TRAININGS}
    for name, decibels in gains.items():
        print(f"{name}: {decibels:.2f} dB over the noisy input at sigma {TEST_SIGMA:g}")
    sys.exit(min(gains.values()) < MIN_GAIN_DB)


if __name__ == "__main__":
    main()
