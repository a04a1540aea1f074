"""Publishes a model that another program wrote: plan, served graphs, comparison with the original, version folder."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import onnx

from training import atomic_files
from training.errors import ImportRejected, PublishError
from training.export.imported import Description, Properties, ServedGraph, check_name, write_imported
from training.export.memory import SIDES, bytes_per_pixel
from training.importing import trials
from training.importing.original import Array, Original, Selection, open_original
from training.importing.plan import Flags, ImagePlan, Plan, VectorPlan, make_plan
from training.importing.reading import to_uint8
from training.importing.samples import read_rows
from training.importing.served import OUTPUT_NAMES, End, build_graph, one_by_one, opset_of
from training.importing.source import Source
from training.importing.trials import Finding
from training.nets import Operation
from training.nets.base import OPERATIONS

BATCHES = (1, 2, 7)
PROBE_SIDE = 43
"""Side in pixels of the probe of a model for images of any size, and of the images that it is compared on."""
UNTILED_SIDES = (512, 512)
"""Sides at which the memory of a model that cannot be tiled is measured."""
PERCENTILE_ITEMS = 64


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import: a model for each operation, and what is stated about it.

    Attributes:
        sources: the models by their operations.
        name: of the published model.
        licence: of the weights.
        title: one line; the name of the file if empty.
        description: of input and output; made from the findings if empty.
    """

    sources: Mapping[Operation, Source]
    name: str
    licence: str = "not stated"
    title: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """A published import: the folder of its version, and its figures by their names in the card."""

    folder: Path
    figures: Mapping[str, float]


def import_model(
    request: ImportRequest,
    selection: Selection,
    flags: Flags,
    out: Path,
    report: Callable[[Finding], None] = lambda _finding: None,
) -> Imported:
    """Publish a foreign model as the next version of `out/<name>`, and report each finding with its evidence.

    Raises ImportRejected with the open question or the way out, and PublishError if the service would reject the model.
    Then nothing is left behind.
    """
    check_name(request.name)
    sources: dict[Operation, Source] = {
        operation: request.sources[operation] for operation in OPERATIONS if operation in request.sources
    }
    originals: dict[Operation, Original] = {
        operation: open_original(source, selection) for operation, source in sources.items()
    }
    for original in originals.values():
        _check_repeatable(original)
    plan = make_plan(originals, flags, report)
    graphs: dict[Operation, ServedGraph] = {
        operation: _serve(operation, original, plan, flags) for operation, original in originals.items()
    }
    properties = _properties(originals, plan, graphs, flags)
    description = _describe(request, sources, plan)
    with atomic_files.temporary_folder(out / request.name) as temporary:
        number = 1 + max(
            (int(path.name) for path in (out / request.name).iterdir() if path.name.isdecimal()), default=0
        )
        write_imported(temporary, number, description, properties, graphs)
        target = out / request.name / str(number)
        try:
            atomic_files.commit_folder(temporary, target)
        except OSError as error:
            raise PublishError(f"cannot move the model to {target} ({error.strerror}): run the import again") from error
    return Imported(target, properties.figures)


def _check_repeatable(original: Original) -> None:
    """Raise ImportRejected if two runs on the same values differ."""
    shape = [side or (1 if axis == 0 else 64) for axis, side in enumerate(original.input.shape)]
    values = np.random.default_rng(5).random(shape, np.float32)
    first, second = original.fits(values), original.fits(values)
    if first is not None and second is not None and not np.array_equal(first, second, equal_nan=True):
        raise ImportRejected(
            f"{original.source.file} answers the same input differently each time: export it in eval mode, without "
            "dropout "
            "and without sampling"
        )


def _ends(operation: Operation, plan: Plan) -> tuple[End, End]:
    item = plan.end("image" if isinstance(plan, ImagePlan) else "vector")
    code = End("code", False, plan.code_shape)
    if operation == "decode":
        return code, item
    if operation == "encode":
        return item, code
    return item, End(OUTPUT_NAMES[operation], item.is_image, item.shape)


def _serve(operation: Operation, original: Original, plan: Plan, flags: Flags) -> ServedGraph:
    """Build the served graph, and the outputs of the original that it is compared with."""
    reading = plan.readings[operation] if isinstance(plan, ImagePlan) else None
    sides = plan.sides if isinstance(plan, ImagePlan) else None
    content = build_graph(original, _ends(operation, plan), reading, sides)
    inputs = _inputs(operation, plan, flags)
    expected = [_expected(operation, original, plan, batch) for batch in inputs]
    if not _batches_agree(content, inputs, expected):
        content = one_by_one(content)
    memory = None
    if isinstance(plan, ImagePlan) and plan.sides.fixed is None:
        tiled = plan.extent is not None and plan.extent.radius is not None
        memory = _memory(content, SIDES if tiled else UNTILED_SIDES)
    return ServedGraph(content, inputs, expected, memory)


def _memory(content: bytes, sides: tuple[int, int]) -> float:
    try:
        return bytes_per_pixel(content, sides)
    except CalledProcessError as error:
        raise ImportRejected(
            f"the model fails on an image of {sides[0]}x{sides[1]} pixels, so that its memory cannot be measured: "
            "serve it "
            "at one size by --size HEIGHTxWIDTH"
        ) from error


def _inputs(operation: Operation, plan: Plan, flags: Flags) -> list[Array]:
    """Return batches as clients send them: images, vectors, or codes of several sizes."""
    if operation == "decode":
        random = np.random.default_rng(6)
        return [random.standard_normal((count, *plan.code_shape), np.float32) for count in BATCHES]  # type: ignore[arg-type]
    if isinstance(plan, VectorPlan):
        if flags.data is not None:
            rows = read_rows(flags.data, plan.features)
            return [np.resize(rows, (count, plan.features)) for count in BATCHES]
        return [np.random.default_rng(6).random((count, plan.features), np.float32) for count in BATCHES]
    if plan.sides.fixed is not None:
        return [plan.samples.crops(count, *plan.sides.fixed) for count in BATCHES]
    sizes = ((PROBE_SIDE, PROBE_SIDE), (1, 1), (2 * PROBE_SIDE, PROBE_SIDE + 6), (3, 130))
    return [plan.samples.crops(1, *size) for size in sizes]


def _expected(operation: Operation, original: Original, plan: Plan, batch: Array) -> Array:
    """Compute what the served graph must answer, by the original model and numpy, one item at a time."""
    outputs = [_expected_item(operation, original, plan, batch[index : index + 1]) for index in range(len(batch))]
    return np.concatenate(outputs)


def _expected_item(operation: Operation, original: Original, plan: Plan, item: Array) -> Array:
    if isinstance(plan, VectorPlan):
        if operation != "decode" and len(original.input.shape) == 3:
            item = item.reshape(1, *(side or -1 for side in original.input.shape[1:]))
        output = original.run(item)
        return output if operation == "encode" else output.reshape(1, -1)
    reading = plan.readings[operation]
    if operation == "decode":
        return to_uint8(reading.from_model(original.run(item), np.zeros(1)))
    padded = item if plan.sides.fixed else _padded(item, plan)
    output = original.run(reading.to_model(padded))
    if operation == "encode":
        return output
    return to_uint8(reading.from_model(output, padded))[:, : item.shape[1], : item.shape[2]]


def _padded(item: Array, plan: ImagePlan) -> Array:
    missing = [plan.sides.padded(side) - side for side in item.shape[1:3]]
    return np.pad(item, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)], mode="edge")


def _batches_agree(content: bytes, inputs: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Whether the graph takes batches and treats their items as it does single ones."""
    try:
        outputs = [run_graph(content, batch) for batch in inputs]
    except Exception:
        return False
    return all(
        output.shape == target.shape
        and np.abs(output.astype(np.float64) - target).max()
        <= (1 if target.dtype == np.uint8 else 1e-3 * np.abs(target).max())
        for output, target in zip(outputs, expected, strict=True)
    )


def run_graph(content: bytes, batch: Array) -> Array:
    """Run a serialized graph with one input and one output on a batch."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: batch})  # type: ignore[misc]
    return np.asarray(output)


def _properties(
    originals: Mapping[Operation, Original], plan: Plan, graphs: Mapping[Operation, ServedGraph], flags: Flags
) -> Properties:
    first = next(iter(originals.values()))
    image = plan if isinstance(plan, ImagePlan) else None
    percentiles, figures, baselines = None, dict[str, float](), dict[str, dict[str, float]]()
    evaluated_on = "no data"
    if image:
        evaluated_on = f"{trials.CROPS} {image.samples.name}"
        for operation, trial in image.trials.items():
            figures |= {f"{operation}_{key}": value for key, value in trials.figures(trial, operation).items()}
        if "denoise" in image.trials:
            baselines["noisy input"] = trials.noisy_figures(trials.trial_images(image.samples, image.sides).crops)
    if "reconstruct" in graphs:
        percentiles = _percentiles(graphs["reconstruct"].content, plan, flags)
    extent = image.extent if image else None
    return Properties(
        size=(image.sides.height, image.sides.width, image.channels) if image else plan.features,  # type: ignore[union-attr]
        code=plan.code_shape,
        receptive_radius=extent.radius if extent else None,
        stride=extent.stride if extent else None,
        parameters=max(1, sum(_parameter_count(original.source.model) for original in originals.values())),
        opset=opset_of(first.source.model),
        evaluated_on=evaluated_on,
        figures=figures,
        baselines=baselines,
        percentiles=percentiles,
    )


def _percentiles(content: bytes, plan: Plan, flags: Flags) -> list[float]:
    """Return the percentiles 0 to 100 of the reconstruction error of the sample items."""
    if isinstance(plan, VectorPlan):
        if flags.data is None:
            raise ImportRejected(
                "/reconstruct states how unusual an error is, and that needs vectors like those that the model was "
                "trained "
                "on: pass a table or array of held-out ones by --data FILE"
            )
        items = read_rows(flags.data, plan.features)
    else:
        side = trials.CROP_SIDE
        items = plan.samples.crops(PERCENTILE_ITEMS, *(plan.sides.fixed or (side, side)))
    scale = 255.0 if items.dtype == np.uint8 else 1.0
    errors = [
        float(np.square((run_graph(content, items[i : i + 1]).astype(np.float64) - items[i : i + 1]) / scale).mean())
        for i in range(len(items))
    ]
    return [float(value) for value in np.percentile(errors, np.arange(101))]


def _parameter_count(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


def _describe(request: ImportRequest, sources: Mapping[Operation, Source], plan: Plan) -> Description:
    files = ", ".join(dict.fromkeys(source.file for source in sources.values()))
    evidence = "; ".join(
        f"{finding.topic}: {finding.choice}" for finding in plan.findings if finding.topic not in ("input", "output")
    )
    first = next(iter(sources.values()))
    return Description(
        name=request.name,
        title=request.title or f"Imported from {files}",
        description=request.description or f"Made from {files} by hourglass-train import. {evidence}"[:4000],
        licence=request.licence,
        file=files[:200],
        sha256=first.sha256 if len(sources) == 1 else _joined_hash(sources),
    )


def _joined_hash(sources: Mapping[Operation, Source]) -> str:
    return hashlib.sha256("".join(source.sha256 for source in sources.values()).encode()).hexdigest()
