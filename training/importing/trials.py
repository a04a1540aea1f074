"""Finds out how a model sees images by trying: the right reading denoises, or reconstructs, natural images best.

Each reading is tried on crops of images; for `denoise` with Gaussian noise of several strengths. Readings are compared
image by image, so that a small but steady difference counts and a large one by chance does not. Crops of one image
resemble each other: they count as one observation. The borders of crops are left out, because there the padding of the
net decides: zeros are black in one reading and gray in another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from training.errors import ImportRejected
from training.importing.original import Array, Original
from training.importing.reading import RANGES, Layout, Reading, ValueRange, to_uint8
from training.importing.samples import Samples
from training.importing.sides import Sides
from training.nets import Operation

SIGMAS = (10.0, 25.0, 50.0)
"""Standard deviations of the noise in grey levels."""
CROPS, CROP_SIDE = 98, 64
BORDER_SHARE, SMALLEST_CROPPED = 4, 32
"""The border that is left out is this part of a side, of sides of at least so many pixels."""
MIN_DENOISING_GAIN = 1.0
"""Mean gain in dB over the noisy input that the best reading must reach at one of the strengths."""
MIN_RECONSTRUCTION = 3.0
"""Gain in dB over the mean color of each crop that the best reading must reach."""
CLEAR_LEAD, CONFIDENCE = 0.05, 0.998
"""A reading is better if its mean lead in dB over the images exceeds this, and 0 with this confidence."""
ROUNDING = 0.005
"""Leads in dB up to this come from rounding."""
SAME_ORDER = 0.1
"""The order of colours does not matter if the lead in dB is below this with the same confidence."""
SAME_LEVELS = 1.0
"""Readings whose outputs differ by at most this mean number of grey levels are the same in effect."""


@dataclass(frozen=True, slots=True)
class ReadingFlags:
    """What flags say about the reading; None is to be found out."""

    layout: Layout | None = None
    input: ValueRange | None = None
    output: ValueRange | None = None
    bgr: bool | None = None
    residual: bool | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the model, with the reason why it is assumed."""

    topic: str
    choice: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A reading, its PSNR of whole crops and its gain in dB without their borders, for each strength of noise and crop.

    Both are (S, crops). `outputs` are some outputs without their borders, uint8 (N, H, W, C).
    """

    reading: Reading
    psnr: Array
    gains: Array
    outputs: Array

    @property
    def score(self) -> float:
        """The mean gain in dB over all strengths and crops."""
        return float(self.gains.mean())

    @property
    def best(self) -> float:
        """The mean gain in dB at the strength where it is largest."""
        return float(self.gains.mean(1).max())


def layouts(original: Original) -> list[tuple[Layout, int]]:
    """Return the layouts and channels that the shape of the input allows; its sides are both fixed or both free."""
    shape = original.input.shape
    choices: list[tuple[Layout, int]] = []
    known: list[tuple[Layout, int]] = []
    orders: tuple[tuple[Layout, int, int], ...] = (("nchw", 1, 3), ("nhwc", 3, 1))
    for layout, axis, side in orders:
        if (shape[2] is None) != (shape[side] is None):
            continue
        possible: list[tuple[Layout, int]] = [(layout, one) for one in (3, 1) if shape[axis] in (one, None)]
        choices += possible
        known += possible if shape[axis] is not None else []
    return known or choices


def candidates(
    layout: Layout, channels: int, dtypes: tuple[str, str], stated: ReadingFlags, operation: Operation
) -> Iterator[Reading]:
    """Yield the readings to try for a layout and the dtypes of input and output."""
    inputs, outputs = (
        [chosen] if chosen else [RANGES["0..255"]] if dtype == "uint8" else list(RANGES.values())
        for chosen, dtype in zip((stated.input, stated.output), dtypes, strict=True)
    )
    orders = [stated.bgr] if stated.bgr is not None else [False, True] if channels == 3 else [False]
    noise = [stated.residual] if stated.residual is not None else [False, True] if operation == "denoise" else [False]
    for values in inputs:
        for order in orders:
            for target in outputs:
                for residual in noise:
                    yield Reading(layout, values, target, channels, bool(order), bool(residual))


def try_readings(run: Any, readings: Sequence[Reading], images: Array, operation: Operation) -> list[Trial]:
    """Try readings on images uint8 (N, H, W, C), and return the trials, the best first.

    `run` maps values of the model to values. Readings that share their input are run once.
    """
    noisy = _inputs(images, operation)
    inside = without_border(images)
    reference = np.stack([_decibels(without_border(batch), inside) for batch in noisy])
    if operation != "denoise":
        reference = _decibels(np.broadcast_to(inside.mean((1, 2), keepdims=True), inside.shape), inside)[np.newaxis]
    values: dict[tuple[ValueRange, bool], list[Array]] = {}
    trials: list[Trial] = []
    for reading in readings:
        key = reading.input, reading.bgr
        if key not in values:
            values[key] = [_run_each(run, reading.to_model(batch)) for batch in noisy]
        outputs = [to_uint8(reading.from_model(*pair)) for pair in zip(values[key], noisy, strict=True)]
        psnr = np.stack([_decibels(output, images) for output in outputs])
        gains = np.stack([_decibels(without_border(output), inside) for output in outputs]) - reference
        trials.append(Trial(reading, psnr, gains, without_border(outputs[0][:2])))
    return sorted(trials, key=lambda trial: -trial.score)


def without_border(images: Array) -> Array:
    """Return the middle of images (N, H, W, C), which the padding of a net affects little; small images are whole."""
    height, width = (side // BORDER_SHARE if side >= SMALLEST_CROPPED else 0 for side in images.shape[1:3])
    return images[:, height : images.shape[1] - height, width : images.shape[2] - width]


@dataclass(frozen=True, slots=True)
class Lead:
    """The mean lead in dB of one reading over another, and how far off it may be with the confidence CONFIDENCE."""

    mean: float
    margin: float

    @property
    def is_steady(self) -> bool:
        """Whether the other reading is worse, if only by little."""
        return self.mean > max(ROUNDING, self.margin)

    @property
    def is_clear(self) -> bool:
        """Whether the other reading is worse by so much that it is another one."""
        return self.is_steady and self.mean > CLEAR_LEAD

    @property
    def is_none(self) -> bool:
        """Whether the two do the same for all purposes."""
        return self.mean + self.margin <= SAME_ORDER

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.margin:.2f} dB"


def choose_trial(trials: Sequence[Trial], operation: Operation, images: int) -> tuple[Trial, list[Finding]]:
    """Return the best trial and the evidence. Raises ImportRejected with the question if no reading is clearly best.

    Crop k of the trials is of image k modulo `images`.
    """
    best = trials[0]
    unit = "over the noisy input" if operation == "denoise" else "over the mean color"
    if best.best < (MIN_DENOISING_GAIN if operation == "denoise" else MIN_RECONSTRUCTION) and len(trials) > 1:
        verb = "denoise" if operation == "denoise" else "reconstruct"
        raise ImportRejected(
            f"no reading of the values makes the model {verb} natural images: the best, {best.reading}, gains "
            f"{best.best:.1f} dB {unit}. Say what is right, {_open_flags(trials)}, or pass images like those that it "
            "was "
            "trained on: --data FOLDER"
        )
    rivals = [trial for trial in trials[1:] if not _same_effect(best, trial)]
    other = next((trial for trial in rivals if trial.reading.bgr == best.reading.bgr), None)
    evidence = f"gains {best.best:.2f} dB {unit}"
    if other is not None:
        lead = compare(best, other, images)
        if not lead.is_clear:
            raise _ambiguous(best, other, lead, images, "--range, or --output-range")
        evidence += f"; {lead.mean:.2f} dB more than {other.reading}"
    equals = [trial for trial in trials if _is_equal(best, trial, images)]
    if len(equals) > 1:
        best, *others = sorted(equals, key=_complexity)
        names = " and ".join(str(trial.reading) for trial in others)
        evidence += f"; the simplest of those that do the same away from the borders, besides {names}"
    return _choose_order(trials, best, [Finding("values", str(best.reading), evidence)], images)


def _is_equal(best: Trial, trial: Trial, images: int) -> bool:
    """Whether nothing tells a reading from the best one: a filter without bias does the same on every scale."""
    lead = compare(best, trial, images)
    return _same_effect(best, trial) and (lead.mean <= ROUNDING or (lead.is_none and not lead.is_steady))


def _complexity(trial: Trial) -> tuple[bool, bool, int, int]:
    """Return the order in which readings that do the same are preferred: 0..1 for input and output is the first."""
    names, reading = list(RANGES), trial.reading
    places = [names.index(values.name) if values.name in names else 0 for values in (reading.input, reading.output)]
    return reading.residual, reading.input != reading.output, places[0], places[1]


def _open_flags(trials: Sequence[Trial]) -> str:
    """Return the flags that would decide between the readings that were tried."""
    readings = [trial.reading for trial in trials]
    questions = {
        "--range (0..1, -1..1, 0..255, imagenet or MEAN/STD)": {reading.input for reading in readings},
        "--output-range": {reading.output for reading in readings},
        "--color (rgb or bgr)": {reading.bgr for reading in readings},
        "--output-is-noise or --no-output-is-noise": {reading.residual for reading in readings},
    }
    return ", ".join(flag for flag, values in questions.items() if len(values) > 1)


def _choose_order(
    trials: Sequence[Trial], best: Trial, findings: list[Finding], images: int
) -> tuple[Trial, list[Finding]]:
    """Decide between RGB and BGR with everything else as in the best trial."""
    swapped = [
        trial
        for trial in trials
        if trial.reading.bgr != best.reading.bgr
        and (trial.reading.input, trial.reading.output, trial.reading.residual)
        == (best.reading.input, best.reading.output, best.reading.residual)
    ]
    if not swapped:
        return best, findings
    (other,) = swapped
    lead = compare(best, other, images)
    if lead.is_steady:
        order = "BGR" if best.reading.bgr else "RGB"
        evidence = f"{lead} more than the other order, over {images} images"
        return best, [*findings, Finding("color", order, evidence)]
    if lead.is_none:
        chosen = other if best.reading.bgr else best
        evidence = f"both orders do the same over {images} images, within {lead.mean + lead.margin:.2f} dB"
        return chosen, [*findings, Finding("color", "RGB", evidence)]
    raise _ambiguous(best, other, lead, images, "--color rgb or --color bgr")


def _ambiguous(best: Trial, other: Trial, lead: Lead, images: int, flags: str) -> ImportRejected:
    return ImportRejected(
        f"two readings of the values do about the same: {best.reading} leads {other.reading} by {lead} over {images} "
        f"images. Which one was the model trained with? Say {flags}, or pass many different images like those that it "
        "was trained on: --data FOLDER"
    )


def compare(best: Trial, other: Trial, images: int) -> Lead:
    """Return the lead of one trial over another by Student's t over the images, of which crop k has number k modulo."""
    leads = (best.gains - other.gains).mean(0)
    means = np.array([leads[number::images].mean() for number in range(images)])
    if images < 2:
        return Lead(float(means.mean()), float("inf"))
    quantile = float(stats.t.ppf(CONFIDENCE, images - 1))
    return Lead(float(means.mean()), quantile * float(means.std(ddof=1)) / images**0.5)


def _same_effect(first: Trial, second: Trial) -> bool:
    difference = np.abs(first.outputs.astype(np.float32) - second.outputs).mean()
    return first.reading.bgr == second.reading.bgr and bool(difference <= SAME_LEVELS)


def figures(trial: Trial, operation: Operation) -> dict[str, float]:
    """Return the PSNR in dB of a trial as `psnr`, or for `denoise` at each strength of noise as `psnr_25`."""
    if operation != "denoise":
        return {"psnr": float(trial.psnr.mean())}
    return {f"psnr_{sigma:.0f}": float(psnr.mean()) for sigma, psnr in zip(SIGMAS, trial.psnr, strict=True)}


def noisy_figures(images: Array) -> dict[str, float]:
    """Return the PSNR in dB of images uint8 (N, H, W, C) with the noise of the trials, by the names in a card."""
    noisy = zip(SIGMAS, _inputs(images, "denoise"), strict=True)
    return {f"denoise_psnr_{sigma:.0f}": float(_decibels(batch, images).mean()) for sigma, batch in noisy}


@dataclass(frozen=True, slots=True)
class TrialImages:
    """Crops uint8 (N, H, W, C) to try a model on. Crop k is of image k modulo `images`."""

    crops: Array
    images: int


def trial_images(samples: Samples, sides: Sides) -> TrialImages:
    """Return the crops to try a model on, of a size that it takes."""
    height, width = sides.fixed or (sides.tried(CROP_SIDE), sides.tried(CROP_SIDE))
    return TrialImages(samples.crops(CROPS, height, width), min(CROPS, len(samples.images)))


def _inputs(images: Array, operation: Operation) -> list[Array]:
    """Return the images, or for `denoise` the images with noise of each of SIGMAS, rounded and clipped to 8 bits."""
    if operation != "denoise":
        return [images]
    noise = np.random.default_rng(4).standard_normal(images.shape, np.float32)
    return [to_uint8(images + np.float32(sigma) * noise) for sigma in SIGMAS]


def _run_each(run: Any, values: Array) -> Array:
    """Run items one by one, because some models take only one."""
    return np.concatenate([run(values[index : index + 1]) for index in range(len(values))])


def _decibels(images: Array, clean: Array) -> Array:
    """Return the PSNR in dB of each image, at most 60: float64 (N,)."""
    errors = np.square(images.astype(np.float64) - clean).mean((1, 2, 3)) / 255**2
    return -10 * np.log10(np.maximum(errors, 1e-6))
