"""Lists the versions in the models folder, computes their fingerprints and reads their cards. Loads no graphs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from service.card import CARD_FILE, Card, read_card
from service.errors import ModelRejected
from service.repository.safe_read import read_regular_file
from service.repository.signatures import SIGNATURE_FILE, check_signature

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Name, size in bytes, modification time in nanoseconds and inode of every file of a version."""

NAME_PATTERN = re.compile("(?!lost\\+found$)[a-z0-9].*")
VERSION_PATTERN = re.compile("[1-9][0-9]*")


def scan_models(folder: Path) -> dict[str, dict[int, Fingerprint]]:
    """Return the fingerprint of every version <name>/<version>/ of the models folder, by name and version.

    Other entries are ignored. A model whose folder cannot be read has no versions. Raises OSError if the models folder
    itself cannot be read.
    """
    models: dict[str, dict[int, Fingerprint]] = {}
    for model in _subfolders(folder, NAME_PATTERN):
        try:
            versions = {int(path.name): fingerprint(path) for path in _subfolders(model, VERSION_PATTERN)}
        except OSError:
            models[model.name] = {}
            continue
        if versions:
            models[model.name] = versions
    return models


def _subfolders(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Return the subfolders whose names match, sorted by name. Unlike `Path.glob`, raises OSError if unreadable."""
    names = os.listdir(folder)  # noqa: PTH208 - the errors of Path.iterdir depend on the Python version
    return [folder / name for name in sorted(names) if pattern.fullmatch(name) and os.path.isdir(folder / name)]  # noqa: PTH112


def fingerprint(folder: Path) -> Fingerprint:
    """Return the fingerprint of a version. It changes when a file changes, so the version must be verified again."""
    entries: list[tuple[str, int, int, int]] = []
    try:
        with os.scandir(folder) as files:
            for file in files:
                stat = _stat(file)
                entries.append((file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError:  # the folder is being removed; the next refresh sees the final state
        return ()
    return tuple(sorted(entries))


def _stat(file: "os.DirEntry[str]") -> os.stat_result:
    """Return the status of the file at the end of a link, which changes with the file, or of a broken link itself."""
    try:
        return file.stat()
    except OSError:
        return file.stat(follow_symlinks=False)


def load_card(folder: Path, roots: Sequence[Path] = (), trusted_keys: Sequence[bytes] = ()) -> Card:
    """Read the card of a version; links may end inside `roots`. Raises ModelRejected with the first error in it.

    If there are `trusted_keys`, one of them must have signed the card.
    """
    text = read_regular_file(folder / CARD_FILE, roots)
    if trusted_keys:
        if not os.path.lexists(folder / SIGNATURE_FILE):
            raise ModelRejected(f"there is no {SIGNATURE_FILE}, and HOURGLASS_TRUSTED_KEYS is set: sign the version")
        check_signature(text, read_regular_file(folder / SIGNATURE_FILE, roots), trusted_keys)
    try:
        return read_card(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(map(str, first["loc"]))
        raise ModelRejected(f"{CARD_FILE}: {location + ': ' if location else ''}{first['msg']}") from error
