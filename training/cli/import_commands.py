"""The command `import`, which publishes a model that another program trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from training.cli.options import DEFAULT_MODELS, ModelsFolder
from training.errors import ImportRejected

if TYPE_CHECKING:
    from training.importing.plan import Flags
    from training.importing.trials import Finding
    from training.nets import Operation

OperationName = Literal["encode", "decode", "reconstruct", "denoise"]


def import_command(
    files: Annotated[list[Path], Parameter(help="A .onnx or .pt2 file for each operation.", negative="")],
    *,
    operation: Annotated[
        list[OperationName], Parameter(help="What each file does, in the order of the files; repeatable.", negative="")
    ],
    name: Annotated[str, Parameter(help="Name of the published model: lower case letters, digits and hyphens.")],
    layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        Parameter(help="Order of the dimensions of images; found out from shapes and runs."),
    ] = None,
    value_range: Annotated[
        str | None,
        Parameter(
            name="--range",
            allow_leading_hyphen=True,
            help="Values of the input: 0..1, -1..1, 0..255, imagenet, or MEAN/STD as 0.5/0.5; found out by trying.",
        ),
    ] = None,
    output_range: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Values of the output, if they are others.")
    ] = None,
    color: Annotated[
        Literal["rgb", "bgr"] | None, Parameter(help="Order of the channels; found out by trying.")
    ] = None,
    output_is_noise: Annotated[
        bool | None, Parameter(help="Whether the output is the noise, to subtract from the input; found out by trying.")
    ] = None,
    size: Annotated[
        str | None, Parameter(help="HEIGHTxWIDTH in pixels, to serve a model for any size at one size.")
    ] = None,
    constant: Annotated[
        list[str] | None, Parameter(help="INPUT=NUMBER fills a further input; repeatable.", negative="")
    ] = None,
    input: Annotated[str | None, Parameter(help="Name of the input that takes the item, if it is not obvious.")] = None,  # noqa: A002 - the flag's name
    output: Annotated[str | None, Parameter(help="Name of the output that is served, if there are several.")] = None,
    data: Annotated[
        Path | None,
        Parameter(
            name="--data",
            help="Folder of images, array or table to try it on, like those that the model was trained on.",
        ),
    ] = None,
    licence: Annotated[str, Parameter(help="License of the weights.")] = "not stated",
    title: Annotated[str, Parameter(help="Title in one line.")] = "",
    description: Annotated[str, Parameter(help="Description of the input and the output.")] = "",
    out: ModelsFolder = DEFAULT_MODELS,
) -> None:
    """Publish a model that another program trained: find out how it sees images, and prove the served graph.

    Each guess is printed with its evidence. What cannot be found out is asked.

    Examples:

    hourglass-train import denoiser.onnx --operation denoise --name mine

    hourglass-train import encoder.onnx decoder.onnx --operation encode --operation decode --name mine --size 128x128

    hourglass-train import ffdnet.onnx --operation denoise --name mine --constant sigma=0.1 --range 0..1 --color rgb
    """
    from training.importing.original import Selection
    from training.importing.publish import ImportRequest, import_model
    from training.importing.source import Source, read_source

    if len(files) != len(operation) or len(set(operation)) < len(operation):
        raise ImportRejected(
            f"{len(files)} files and {len(operation)} operations: say one --operation for each file, each of them once"
        )
    flags = _flags(layout, (value_range, output_range), color, output_is_noise, size, data)
    sources: dict[Operation, Source] = {
        one: read_source(file.expanduser()) for one, file in zip(operation, files, strict=True)
    }
    request = ImportRequest(sources, name, licence, title, description)
    imported = import_model(request, Selection(input, output, _constants(constant or [])), flags, out, print_finding)
    for key, value in imported.figures.items():
        print(f"{key.replace('_', ' ')}: {value:.2f} dB")
    print(f"published {imported.folder}: the service's loader and the original agree")


def print_finding(finding: "Finding") -> None:
    """Print one finding in a line: topic, choice, evidence."""
    print(f"{finding.topic:<9} {finding.choice} ({finding.evidence})", flush=True)


def _flags(
    layout: Literal["nchw", "nhwc"] | None,
    ranges: tuple[str | None, str | None],
    color: str | None,
    output_is_noise: bool | None,
    size: str | None,
    data: Path | None,
) -> "Flags":
    from training.importing.plan import Flags
    from training.importing.reading import parse_range
    from training.importing.trials import ReadingFlags

    values, output = (parse_range(text) if text else None for text in ranges)
    stated = ReadingFlags(layout, values, output, None if color is None else color == "bgr", output_is_noise)
    return Flags(stated, _size(size), data)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ImportRejected(f"--size {text}: pass HEIGHTxWIDTH in pixels, such as 256x256")
    return int(height), int(width)


def _constants(texts: list[str]) -> dict[str, float]:
    constants: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            constants[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise ImportRejected(f"--constant {text}: pass INPUT=NUMBER, such as sigma=0.1")
    return constants
