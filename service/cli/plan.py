"""Plans the names of all outputs before anything is written, so that no file is overwritten by mistake."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from service import codec
from service.cli.sources import STREAM, Source, Sources, expand_home, printable
from service.codec import FORMAT_BY_SUFFIX

LONGEST_SIDE = (1 << 31) - 1  # in pixels, of a PNG file
MEDIA_TYPES = {  # of the suffixes that can be written
    suffix: f"image/{name}"
    for suffix, name in FORMAT_BY_SUFFIX.items()
    if f"image/{name}" in codec.WRITABLE and suffix not in (".mpo", ".apng")
}
LIMITED_TYPES = {one for one in codec.WRITABLE if not codec.fits(one, (LONGEST_SIDE, 1))}
"""Media types that cannot hold every image that can be read."""
SUFFIX_OF_FORMAT = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "gif": ".gif"}
MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class FileTask:
    """A source and the file to write its output to; without a target the output is only returned.

    Without a target, `to_stdout` writes to standard output. `fallback` is the PNG file that is written if the image is
    too large for the format of the target; it is no file of the user's.
    """

    source: Source
    target: Path | None
    to_stdout: bool = False
    fallback: Path | None = None


@dataclass(frozen=True, slots=True)
class ExistingFilePolicy:
    """What to do with targets that exist already; `suffix` is added to the name of every output."""

    overwrite: bool = False
    skip: bool = False
    suffix: str = ""


@dataclass(slots=True)
class Plan:
    """The tasks, the targets that exist and are skipped, and notes on outputs that are named unlike their sources.

    With `error_maps`, the outputs are maps of the reconstruction error instead of images of the model.
    """

    tasks: list[FileTask]
    skipped: list[Path] = field(default_factory=list[Path])
    notes: list[str] = field(default_factory=list[str])
    error_maps: bool = False


def output_folder(output: str, names: Sequence[str]) -> Path | None:
    """Return the folder that outputs go to, or None if the output is a file or standard output.

    It is a folder if it exists as one, ends in a slash, or has to hold more than one image.
    """
    if output in ("-", STREAM):
        return None
    path = expand_home(output)
    many = len(names) > 1 or any(expand_home(name).is_dir() or not expand_home(name).exists() for name in names)
    many = many and list(names) not in ([STREAM], ["-"])
    return path if path.is_dir() or output.endswith(("/", os.sep)) or many else None


def plan_outputs(
    sources: Sources, output: str, folder: Path | None, existing: ExistingFilePolicy, is_own: Callable[[Path], bool]
) -> Plan:
    """Return the plan. Nothing is written.

    Two outputs never get the same name, not even on file systems that ignore case. Raises ValueError if an output
    would replace a source or another file that no earlier run wrote, or cannot be written.
    """
    if existing.overwrite and existing.skip:
        raise ValueError("--overwrite and --skip-existing exclude each other: choose one")
    if output in ("-", STREAM):
        if len(sources.files) != 1:
            raise ValueError(f"standard output holds one image, not {len(sources.files)}: name a folder by --output")
        return Plan([FileTask(sources.files[0], None, to_stdout=True)])
    plan = _name_targets(sources.files, expand_home(output), folder, existing.suffix)
    _check_sources(plan.tasks)
    plan.tasks = _with_fallbacks(plan.tasks, is_own)
    return _check_existing(plan, existing, is_own)


def _name_targets(files: Sequence[Source], output: Path, folder: Path | None, suffix: str) -> Plan:
    if folder is None:
        if output.suffix.lower() not in MEDIA_TYPES:
            endings = ", ".join(MEDIA_TYPES)
            raise ValueError(
                f"cannot write {printable(output.name)}: name a folder ({output.name}/), or a file of {endings}"
            )
        return Plan([FileTask(files[0], _with_suffix(output, suffix))])
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{printable(folder)} is a file, and several images need a folder: choose another --output")
    plan = Plan([])
    names: dict[str, Source] = {}
    for source in files:
        planned = target = folder / _with_suffix(_output_name(source), suffix)
        number = 2
        while (key := _key(target)) in names:
            target = _with_suffix(planned, f"-{number}")
            number += 1
        if target != planned:
            first = names[_key(planned)]
            plan.notes.append(f"{source} is written as {printable(target)}: {printable(planned)} is for {first}")
        names[key] = source
        plan.tasks.append(FileTask(source, target))
    return plan


def _output_name(source: Source) -> Path:
    """Return the name of a source with the suffix of a format that can be written: its own, or else `.png`."""
    suffix = source.name.suffix.lower()
    if suffix in MEDIA_TYPES:
        return source.name
    if suffix in FORMAT_BY_SUFFIX:
        return source.name.with_suffix(SUFFIX_OF_FORMAT.get(source.format, ".png"))
    return source.name.with_name(source.name.name + SUFFIX_OF_FORMAT.get(source.format, ".png"))


def _with_suffix(path: Path, suffix: str) -> Path:
    """Insert `suffix` before the last suffix of a name; the rest is cut to the length that file systems allow."""
    end = suffix + path.suffix
    stem = path.name.removesuffix(path.suffix)
    room = MAX_NAME_BYTES - len(os.fsencode(end))
    return path.with_name(os.fsdecode(os.fsencode(stem)[:room]) + end)


def _key(path: Path) -> str:
    """Return what a file system that ignores case and the composition of letters takes for the name."""
    return unicodedata.normalize("NFC", os.fspath(path)).casefold()


def _check_sources(tasks: Sequence[FileTask]) -> None:
    sources = {os.path.realpath(task.source.path): task.source for task in tasks if task.source.path}
    for task in tasks:
        if task.target and (source := sources.get(os.path.realpath(task.target))):
            own = "its own source" if source is task.source else f"the source {source}"
            raise ValueError(
                f"{printable(task.target)} would overwrite {own}; choose another output, or add a --suffix to the names"
            )


def _exists(path: Path | None) -> bool:
    return path is not None and os.path.lexists(path)


def _with_fallbacks(tasks: Sequence[FileTask], is_own: Callable[[Path], bool]) -> list[FileTask]:
    """Plan a PNG file beside each target of a format of limited size. No other output and no file has its name.

    Only an output of an earlier run is replaced.
    """
    sources = {os.path.realpath(task.source.path) for task in tasks if task.source.path}
    names = {_key(task.target) for task in tasks if task.target}
    planned: list[FileTask] = []
    for task in tasks:
        if task.target is None or MEDIA_TYPES[task.target.suffix.lower()] not in LIMITED_TYPES:
            planned.append(task)
            continue
        first = fallback = _with_suffix(task.target.with_name(f"{task.target.name}.png"), "")
        number = 2
        while (
            _key(fallback) in names
            or os.path.realpath(fallback) in sources
            or (os.path.lexists(fallback) and not is_own(fallback))
        ):
            fallback = _with_suffix(first, f"-{number}")
            number += 1
        names.add(_key(fallback))
        planned.append(replace(task, fallback=fallback))
    return planned


def _check_existing(plan: Plan, existing: ExistingFilePolicy, is_own: Callable[[Path], bool]) -> Plan:
    present = [task for task in plan.tasks if _exists(task.target)]
    if existing.skip:
        present = [task for task in plan.tasks if any(map(_exists, (task.target, task.fallback)))]
        plan.skipped = [task.target for task in present if task.target]
        plan.tasks = [task for task in plan.tasks if task not in present]
        return plan
    if folders := [task.target for task in present if task.target and task.target.is_dir()]:
        raise ValueError(f"{printable(folders[0])} is a folder, where a file is to be written: choose another --output")
    foreign = [task.target for task in present if task.target and not is_own(task.target)]
    if foreign and not existing.overwrite:
        count = f"{len(foreign)} outputs exist already, such as " if len(foreign) > 1 else ""
        verb = "" if len(foreign) > 1 else " exists already"
        raise ValueError(
            f"{count}{printable(foreign[0])}{verb}: --overwrite replaces, --skip-existing keeps what is there"
        )
    return plan


def note_quality(plan: Plan) -> None:
    """Note to how many outputs a quality does not apply. Raises ValueError if it applies to none."""
    suffixes = [task.target.suffix.lower() for task in plan.tasks if task.target]
    lossless = [suffix for suffix in suffixes if MEDIA_TYPES[suffix] not in codec.LOSSY]
    if not lossless:
        return
    kinds = ", ".join(sorted(set(lossless)))
    if len(lossless) == len(plan.tasks):
        raise ValueError(f"--quality applies to JPEG, WebP and AVIF, and the outputs are {kinds}: omit it")
    plan.notes.append(f"--quality does not apply to {len(lossless)} outputs ({kinds})")
