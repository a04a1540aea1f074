"""Finds out everything about a model before it is published: kind, reading, sides, extent; each with evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.errors import ImportRejected
from training.importing import trials
from training.importing.extent import Extent, measure_extent
from training.importing.original import Array, Original
from training.importing.reading import RANGES, Layout, Reading
from training.importing.samples import Samples, read_samples
from training.importing.served import End
from training.importing.sides import Sides, find_sides, fixed_sides
from training.importing.trials import Finding, ReadingFlags, Trial, TrialImages
from training.nets import Operation


@dataclass(frozen=True, slots=True)
class Flags:
    """What the caller states, so that it is not found out.

    Attributes:
        stated: about the reading.
        size: height and width in pixels, or None to find out.
        data: a folder or file of images like those that the model was trained on, or of vectors.
    """

    stated: ReadingFlags = field(default_factory=ReadingFlags)
    size: tuple[int, int] | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """A model of images: how each operation reads them, their sides, how far the graphs look, and the trial images."""

    readings: Mapping[Operation, Reading]
    trials: Mapping[Operation, Trial]
    sides: Sides
    extent: Extent | None
    samples: Samples
    code_shape: tuple[int | None, ...]
    findings: Sequence[Finding]

    @property
    def channels(self) -> int:
        """The number of channels, 1 or 3."""
        return next(iter(self.readings.values())).channels

    def end(self, name: str) -> End:
        """Return the end of a graph that carries images."""
        return End(name, True, (self.sides.height, self.sides.width, self.channels))


@dataclass(frozen=True, slots=True)
class VectorPlan:
    """A model of vectors: their length, and the shape of the code."""

    features: int
    code_shape: tuple[int | None, ...]
    findings: Sequence[Finding]

    def end(self, name: str) -> End:
        """Return the end of a graph that carries vectors."""
        return End(name, False, (self.features,))


Plan = ImagePlan | VectorPlan


def make_plan(originals: Mapping[Operation, Original], flags: Flags, report: Callable[[Finding], None]) -> Plan:
    """Find out how to serve the graphs of a model, and report each finding.

    Raises ImportRejected with the open question if something cannot be found out.
    """
    findings: list[Finding] = []

    def record(topic: str, choice: str, evidence: str) -> None:
        findings.append(Finding(topic, choice, evidence))
        report(findings[-1])

    for operation, original in originals.items():
        for note in original.source.notes:
            record("file", original.source.file, note)
        record("input", str(original.input), f"of {original.source.file}, for {operation}")
        record("output", str(original.output), f"of {original.source.file}")
        for port, value in original.constants.items():
            record("constant", f"{port.name} = {value:g}", "by --constant")
    ends = {len(_item_port(operation, original)) for operation, original in originals.items()}
    if len(ends) > 1 and 4 in ends:
        raise ImportRejected("some of the graphs take images and others vectors: import them as two models")
    if ends == {4}:
        return _plan_images(originals, flags, record, findings)
    return _plan_vectors(originals, record, findings)


Report = Callable[[str, str, str], None]


def _item_port(operation: Operation, original: Original) -> tuple[int | None, ...]:
    """Return the shape of the end that carries images or vectors, not codes."""
    return (original.output if operation == "decode" else original.input).shape


def _plan_vectors(originals: Mapping[Operation, Original], record: Report, findings: list[Finding]) -> VectorPlan:
    lengths: set[int] = set()
    for operation, original in originals.items():
        sides = _item_port(operation, original)[1:]
        if None in sides:
            raise ImportRejected(f"{original.source.file}: the length of its vectors is not fixed: export it with one")
        lengths.add(int(np.prod([side or 1 for side in sides])))
    if len(lengths) > 1:
        raise ImportRejected(f"the graphs take vectors of different lengths, {sorted(lengths)}: import them separately")
    (features,) = lengths
    record("kind", f"vectors of {features} numbers", "the input is no batch of images")
    for operation in ("reconstruct", "denoise"):
        if original := originals.get(operation):
            _check_vector_output(original, features)
    code = _code_shape(originals, _zeros)
    return VectorPlan(features, code or (features,), findings)


def _zeros(original: Original) -> Array:
    """Return one item of zeros, float32, for an input whose sides but the first are fixed."""
    return np.zeros((1, *(side or 1 for side in original.input.shape[1:])), np.float32)


def _check_vector_output(original: Original, features: int) -> None:
    length = original.run(_zeros(original)).size
    if length != features:
        raise ImportRejected(
            f"{original.source.file} takes {features} numbers and returns {length}: denoise and reconstruct answer "
            "with as "
            "many as they get; import it as encode"
        )


def _plan_images(
    originals: Mapping[Operation, Original], flags: Flags, record: Report, findings: list[Finding]
) -> ImagePlan:
    coding = originals.keys() & {"encode", "decode"}
    layout, channels, sides = _find_layout(originals, flags)
    record("layout", f"{layout.upper()}, {channels} channel{'s' * (channels > 1)}", "the shapes, and runs that succeed")
    record(
        "sides",
        str(sides),
        "by --size" if flags.size else "sizes that ran" if sides.fixed is None else "the shape of the input",
    )
    if coding and sides.fixed is None:
        raise ImportRejected(
            "a code is served for images of one size, but this model takes any: which one? Say --size HEIGHTxWIDTH"
        )
    samples = read_samples(flags.data, channels, sides.fixed)
    images = trials.trial_images(samples, sides)
    chosen: dict[Operation, Trial] = {}
    readings: dict[Operation, Reading] = {}
    for operation in ("reconstruct", "denoise"):
        if original := originals.get(operation):
            trial = _try(original.run, original, original, layout, channels, flags.stated, images, operation, record)
            chosen[operation], readings[operation] = trial, trial.reading
    if coding:
        readings |= _coding_readings(originals, layout, channels, flags.stated, images, record)
    extent = None
    if sides.fixed is None:
        extents = [measure_extent(originals[operation], reading, sides) for operation, reading in readings.items()]
        extent = max(extents, key=lambda one: (one.radius is None, one.radius or 0, one.stride or 0))
        tiles = "no tiles" if extent.radius is None else f"radius {extent.radius}, stride {extent.stride}"
        record("tiles", tiles, extent.evidence)
    code = _code_shape(originals, lambda _: readings["encode"].to_model(images.crops[:1]))
    return ImagePlan(readings, chosen, sides, extent, samples, code or (None,), findings)


def _find_layout(originals: Mapping[Operation, Original], flags: Flags) -> tuple[Layout, int, Sides]:
    """Find the layout, the channels and the sides that all graphs take."""
    original = next((one for key, one in originals.items() if key != "decode"), None)
    if original is None:
        return _decoder_layout(originals["decode"], flags)
    same = any(operation in originals for operation in ("reconstruct", "denoise"))
    choices = trials.layouts(original)
    if flags.stated.layout is not None:
        choices = [choice for choice in choices if choice[0] == flags.stated.layout]
    if not choices:
        raise ImportRejected(
            f"the input {original.input} has neither 1 nor 3 channels in this layout: images are served in gray or in "
            "color; convert the channels in the net (a wrapper module, and workspace.publish_module)"
        )
    options: list[tuple[Layout, int, Sides]] = []
    reasons: list[ImportRejected] = []
    for layout, channels in choices:
        try:
            options.append((layout, channels, _find_sides(original, layout, channels, flags, same=same)))
        except ImportRejected as error:
            reasons.append(error)
    if not options:
        raise reasons[0]
    if len(options) > 1 and original.input.shape[1:] != (None, None, None):
        names = " or ".join(f"{layout.upper()} with {channels} channels" for layout, channels, _ in options)
        raise ImportRejected(
            f"the input {original.input} runs as {names}: which one? Say --layout nchw or --layout nhwc"
        )
    return options[0]


def _find_sides(original: Original, layout: Layout, channels: int, flags: Flags, *, same: bool) -> Sides:
    if isinstance(flags.size, tuple):
        return fixed_sides(original, layout, channels, flags.size, same_size=same)
    return find_sides(original, layout, channels, same_size=same)


def _decoder_layout(original: Original, flags: Flags) -> tuple[Layout, int, Sides]:
    shape = original.run(np.zeros([side or 1 for side in original.input.shape], np.float32)).shape
    for layout, axis in (("nchw", 1), ("nhwc", 3)):
        if shape[axis] in (1, 3) and flags.stated.layout in (None, layout):
            height, width = (shape[2], shape[3]) if layout == "nchw" else (shape[1], shape[2])
            return layout, shape[axis], Sides(height, width)  # type: ignore[return-value]
    raise ImportRejected(
        f"the output {original.output} of shape {list(shape)} has neither 1 nor 3 channels: it is no image"
    )


def _try(
    run: Callable[[Array], Array],
    first: Original,
    last: Original,
    layout: Layout,
    channels: int,
    stated: ReadingFlags,
    images: TrialImages,
    operation: Operation,
    record: Report,
) -> Trial:
    readings = list(trials.candidates(layout, channels, (first.input.dtype, last.output.dtype), stated, operation))
    tried = trials.try_readings(run, readings, images.crops, operation)
    trial, findings = trials.choose_trial(tried, operation, images.images)
    for finding in findings:
        record(finding.topic, finding.choice, finding.evidence)
    return trial


def _coding_readings(
    originals: Mapping[Operation, Original],
    layout: Layout,
    channels: int,
    stated: ReadingFlags,
    images: TrialImages,
    record: Report,
) -> dict[Operation, Reading]:
    """Find the reading of an encoder and a decoder together; one alone must be told by flags."""
    encoder, decoder = originals.get("encode"), originals.get("decode")
    if encoder and decoder:
        first, last = encoder, decoder
        trial = _try(
            lambda values: last.run(first.run(values)),
            first,
            last,
            layout,
            channels,
            stated,
            images,
            "reconstruct",
            record,
        )
        return {"encode": trial.reading, "decode": trial.reading}
    original = encoder or decoder
    operation: Operation = "encode" if encoder else "decode"
    if original is None:
        return {}
    dtype = original.input.dtype if encoder else original.output.dtype
    values = RANGES["0..255"] if dtype == "uint8" else (stated.input if encoder else stated.output) or stated.input
    if values is None or (channels == 3 and stated.bgr is None):
        raise ImportRejected(
            f"{original.source.file} only {operation}s, so that trying does not tell how it sees images. What values "
            "are "
            "they (--range 0..1, -1..1, 0..255, imagenet or MEAN/STD), in which order of colours (--color rgb or "
            "bgr)? Or "
            "import the other half with it"
        )
    record("values", values.name, "by flags" if dtype != "uint8" else "the dtype is uint8")
    return {operation: Reading(layout, values, values, channels, bool(stated.bgr))}


def _code_shape(
    originals: Mapping[Operation, Original], example: Callable[[Original], Array]
) -> tuple[int | None, ...] | None:
    """Return the shape of one code from a run of the encoder, or from the input of the decoder."""
    if encoder := originals.get("encode"):
        shape: tuple[int | None, ...] = encoder.run(example(encoder)).shape[1:]
    elif decoder := originals.get("decode"):
        shape = decoder.input.shape[1:]
        if None in shape:
            raise ImportRejected(
                f"{decoder.source.file}: the shape of its codes is not fixed: import the encoder with it"
            )
    else:
        return None
    if not 1 <= len(shape) <= 3:
        raise ImportRejected(
            f"a code of shape {list(shape)} cannot be served, only 1 to 3 dimensions: flatten it in the net"
        )
    return shape
