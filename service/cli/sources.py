"""Finds the images that a command line names: files, folders, wildcards and standard input.

Files that are not meant as images are ignored: hidden files, the folders of operating systems and storage devices,
earlier outputs. Other files that are left out are counted.
"""

import glob
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.codec import FORMAT_BY_SUFFIX, is_system_file, list_files
from service.extras import install_extra
from service.setting_types import supported_formats

STREAM = "/dev/stdio"  # in place of "-", which the parser of the command line takes for an option
SUFFIXES = {suffix for suffix, name in FORMAT_BY_SUFFIX.items() if name in supported_formats()}
HEIF_HINT = f"to read them, {install_extra('heif')}"
CONVERT_HINT = "convert them to PNG or JPEG first"
RAW_SUFFIXES = {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"}
CONVERTIBLE = {*FORMAT_BY_SUFFIX, *RAW_SUFFIXES, ".psd", ".jp2", ".ico", ".svg", ".pdf", ".eps", ".exr", ".hdr"}
MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"II*\0": "tiff", b"MM\0*": "tiff"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, or None for standard input, and its name below the output folder."""

    path: Path | None
    name: Path
    format: str = ""

    def __str__(self) -> str:
        return printable(self.path or "standard input")


@dataclass(slots=True)
class Sources:
    """The files to read, how many were passed over for each reason, and folders that cannot be read."""

    files: list[Source] = field(default_factory=list[Source])
    passed_over: Counter[str] = field(default_factory=Counter[str])
    unreadable: list[str] = field(default_factory=list[str])

    def describe_passed_over(self) -> str:
        """Return the counts by reason, most frequent first, or an empty string."""
        return ", ".join(f"{count} {reason}" for reason, count in self.passed_over.most_common())


def printable(path: Path | str) -> str:
    """Return a path as one line of valid text: line ends, control characters and undecodable bytes are escaped."""
    text = os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def find_sources(names: Sequence[str], output: Path | None, is_own: Callable[[Path], bool]) -> Sources:
    """Return the images that the names stand for: files, folders with all below them, wildcards, and standard input.

    Nothing below the folder `output` is read, and no file for which `is_own` holds. Raises ValueError if a name stands
    for nothing.
    """
    sources = Sources()
    paths = list(_expand(names))
    for path in dict.fromkeys(paths):
        if path == Path(STREAM):
            sources.files.append(Source(None, Path("stdin")))
        elif path.is_dir():
            _add_folder(sources, path, output, is_own)
        elif len(paths) == 1:
            sources.files.append(Source(path, Path(path.name), _format(path)))
        else:
            _add_file(sources, path, Path(path.name))
    return sources


def _expand(names: Sequence[str]) -> Iterator[Path]:
    """Yield the paths of names; the shell has not expanded wildcards in quotes, and none on Windows."""
    if not names:
        raise ValueError("name at least one image or folder, or - for standard input")
    for name in names:
        path = expand_home(name)
        if name in ("-", STREAM):
            yield Path(STREAM)
        elif os.path.lexists(path):
            yield path
        elif glob.has_magic(name):
            matches = sorted(glob.glob(os.fspath(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            if not matches:
                raise ValueError(f"no file matches {printable(name)}")
            yield from map(Path, matches)
        else:
            raise ValueError(f"{printable(name)} does not exist")


def expand_home(name: str) -> Path:
    """Return a path with `~` replaced by the home folder, unless a file of that name exists."""
    path = Path(name)
    return path.expanduser() if name.startswith("~") and not path.exists() else path


def _add_folder(sources: Sources, root: Path, output: Path | None, is_own: Callable[[Path], bool]) -> None:
    """Add the images below a folder, sorted by path."""

    def unreadable(error: OSError) -> None:
        sources.unreadable.append(f"{printable(error.filename)}: {error.strerror}")

    for path in list_files(root, unreadable=unreadable, leave_out=output):
        if is_own(path):
            sources.passed_over["outputs of earlier runs"] += 1
        else:
            _add_file(sources, path, path.relative_to(root))


def _add_file(sources: Sources, path: Path, name: Path) -> None:
    """Add an image, or count why it is none. System files and hidden files do not count."""
    if is_system_file(path.name):
        return
    try:
        status = path.stat()
    except OSError:
        sources.passed_over["broken links"] += 1
        return
    if not stat.S_ISREG(status.st_mode):
        return  # pipes, sockets and devices
    suffix = path.suffix.lower()
    if not status.st_size:
        sources.passed_over["empty files"] += 1
    elif suffix in SUFFIXES or (suffix in {"", *FORMAT_BY_SUFFIX} and _format(path) in supported_formats()):
        sources.files.append(Source(path, name, _format(path)))
    else:
        hint = ""
        if FORMAT_BY_SUFFIX.get(suffix) == "heif":
            hint = f" ({HEIF_HINT})"
        elif suffix in CONVERTIBLE:
            hint = f" ({CONVERT_HINT})"
        sources.passed_over[f"{printable(suffix) or 'without a suffix'}{hint}"] += 1


def _format(path: Path) -> str:
    """Return the format of a file by its suffix, or else by its first bytes; an empty string if it is unknown."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return FORMAT_BY_SUFFIX[suffix]
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return ""
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")
