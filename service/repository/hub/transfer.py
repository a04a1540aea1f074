"""Copies single versions of models: from a remote folder into a local one, verified, and back."""

import hashlib
import os
import shutil
from asyncio import to_thread
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from service.card import CARD_FILE, Name
from service.errors import ModelRejected
from service.repository.hub.listing import INDEX_FILE, Index, IndexEntry, Listing, RemoteFile, Source
from service.repository.layout import VERSION_PATTERN, load_card, scan_models
from service.repository.pins import PIN_FILE
from service.repository.safe_read import MAX_BYTES, read_regular_file
from service.repository.signatures import MAX_SIGNATURE_BYTES, SIGNATURE_FILE

MAX_CARD_BYTES = 8 << 20
MAX_VERSION_DIGITS = 9
PARTS_FOLDER = ".parts"
NAMES: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A version in a listing: its name, its number, and its files by name."""

    name: str
    version: int
    files: Listing

    @property
    def path(self) -> str:
        """The folder of the version: NAME/VERSION."""
        return f"{self.name}/{self.version}"

    @property
    def bytes(self) -> int:
        """The size of all files whose size is known."""
        return sum(file.size or 0 for file in self.files.values())

    @property
    def tags(self) -> tuple[tuple[str, str], ...]:
        """The tags of all files, which change with their content."""
        return tuple(sorted((name, file.tag) for name, file in self.files.items()))


def parse_listing(files: Listing) -> list[RemoteVersion]:
    """Return the versions in a listing that have a card, sorted by name and version.

    Paths that are not NAME/VERSION/FILE are ignored: no other part of a path is ever used as the name of a local file.
    """
    versions: dict[tuple[str, int], dict[str, RemoteFile]] = {}
    for path, file in files.items():
        name, version, file_name, *rest = [*path.split("/"), "", "", ""]
        if any(rest) or not is_name(name) or not VERSION_PATTERN.fullmatch(version):
            continue
        if len(version) <= MAX_VERSION_DIGITS and file_name:
            versions.setdefault((name, int(version)), {})[file_name] = file
    return [RemoteVersion(*key, found) for key, found in sorted(versions.items()) if CARD_FILE in found]


def is_name(text: str) -> bool:
    """Return whether a text is a valid name of a model."""
    try:
        NAMES.validate_python(text)
    except ValidationError:
        return False
    return True


class Download:
    """Downloads of the files of one version into an empty folder, with at most `room` bytes in all."""

    def __init__(self, source: Source, version: RemoteVersion, folder: Path, room: int) -> None:
        self._source = source
        self._version = version
        self._folder = folder
        self._room = room

    async def fetch(self, name: str, max_bytes: int) -> str:
        """Write a file and return its SHA-256. Raises HubUnavailable, ModelRejected if it is too large, and OSError."""
        listed = self._version.files.get(name)
        if listed is None:
            raise ModelRejected(f"{name} is missing at the source")
        allowed = min(max_bytes, self._room)
        if listed.size is not None and listed.size > allowed:
            raise ModelRejected(f"{name} has {listed.size} bytes, and there is room for {allowed}: {ROOM_HINT}")
        digest = hashlib.sha256()
        with (self._folder / name).open("xb") as file:
            async with aclosing(self._source.read(f"{self._version.path}/{name}", allowed)) as chunks:
                async for chunk in chunks:
                    self._room -= len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
            await to_thread(os.fsync, file.fileno())
        return digest.hexdigest()


async def pull_version(
    source: Source, version: RemoteVersion, target: Path, room: int, trusted_keys: Sequence[bytes] = ()
) -> None:
    """Copy a version into the models folder `target`, verified by the hashes of its card, and place it by a rename.

    The files are `card.json`, its signature and the graphs that it names. `room`: the most bytes to write. Raises
    ModelRejected if the version is invalid, altered or too large, HubUnavailable, and OSError.
    """
    part = target / PARTS_FOLDER / uuid4().hex
    part.mkdir(parents=True, mode=0o700)
    try:
        download = Download(source, version, part, room)
        await download.fetch(CARD_FILE, MAX_CARD_BYTES)
        if SIGNATURE_FILE in version.files:
            await download.fetch(SIGNATURE_FILE, MAX_SIGNATURE_BYTES)
        card = load_card(part, trusted_keys=trusted_keys)
        if (card.name, card.version) != (version.name, version.version):
            raise ModelRejected(f"the card is for {card.name} {card.version}, not for {version.name} {version.version}")
        for graph in card.graphs:
            if await download.fetch(graph.file, MAX_BYTES) != graph.sha256:
                raise ModelRejected(f"{graph.file} does not have the SHA-256 of the card")
        place = target / version.path
        place.parent.mkdir(exist_ok=True)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def verify_version(folder: Path, trusted_keys: Sequence[bytes] = ()) -> int:
    """Check the signature and the hashes of a local version. Return its size in bytes. Raises ModelRejected."""
    card = load_card(folder, (folder,), trusted_keys)
    size = (folder / CARD_FILE).stat().st_size
    for graph in card.graphs:
        data = read_regular_file(folder / graph.file, (folder,))
        if hashlib.sha256(data).hexdigest() != graph.sha256:
            raise ModelRejected(f"{graph.file} does not have the SHA-256 of the card")
        size += len(data)
    return size


async def push_version(folder: Path, source: Source, path: str) -> None:
    """Copy a verified local version to NAME/VERSION of a remote folder, its card last: without it no reader takes it.

    Raises ModelRejected if the local version is invalid, or if the remote folder has it already.
    """
    verify_version(folder)
    if any(name.startswith(f"{path}/{CARD_FILE}") for name in await source.list_files()):
        raise ModelRejected(f"{path} exists already, and published versions are never changed: publish the next one")
    for name in _pushed_files(folder):
        await source.write(f"{path}/{name}", read_regular_file(folder / name, (folder,)))


def _pushed_files(folder: Path) -> list[str]:
    graphs = [graph.file for graph in load_card(folder, (folder,)).graphs]
    return [*graphs, *([SIGNATURE_FILE] if (folder / SIGNATURE_FILE).exists() else []), CARD_FILE]


def push_to_folder(folder: Path, target: Path, path: str) -> None:
    """Copy a verified local version into another folder, and write its `index.json` for web servers.

    Raises ModelRejected if the version is invalid or exists there already, and OSError.
    """
    verify_version(folder)
    part, place = target / PARTS_FOLDER / uuid4().hex, target / path
    if place.exists():
        raise ModelRejected(f"{path} exists already, and published versions are never changed: publish the next one")
    part.mkdir(parents=True)
    try:
        for name in _pushed_files(folder):
            (part / name).write_bytes(read_regular_file(folder / name, (folder,)))
        place.parent.mkdir(exist_ok=True)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    write_index(target)


def write_index(target: Path) -> None:
    """Write `index.json` of a models folder, which lists the files for `https://` addresses. Raises OSError."""
    entries: dict[str, IndexEntry] = {}
    for name, versions in scan_models(target).items():
        folders = [target / name / str(version) for version in versions]
        files = [file for folder in folders for file in folder.iterdir()]
        for file in [*files, target / name / PIN_FILE]:
            if file.is_file():
                data = file.read_bytes()
                entries[file.relative_to(target).as_posix()] = IndexEntry(
                    size=len(data), sha256=hashlib.sha256(data).hexdigest()
                )
    temporary = target / f".{uuid4().hex}.part"
    temporary.write_text(Index(files=entries).model_dump_json(indent=1) + "\n")
    temporary.replace(target / INDEX_FILE)


ROOM_HINT = "raise HOURGLASS_MODEL_CACHE_MIB, or remove versions"
