"""What lies in the models folder: versions, their fingerprints, their cards. Loads no graph."""

import os
import re
from pathlib import Path

from pydantic import ValidationError

from service.card import CARD_FILE, Card, read_card
from service.errors import ModelRejected
from service.repository.safe_read import read_regular_file

Fingerprint = tuple[tuple[str, int, int, int], ...]
NAME_PATTERN, VERSION_PATTERN = re.compile("[a-z0-9].*"), re.compile("[1-9][0-9]*")


def scan_models(folder: Path) -> dict[str, dict[int, Fingerprint]]:
    """Every <name>/<version>/ of the folder with a fingerprint of its files. Other entries are passed over.

    A name that cannot be read has no versions. Raises OSError where the folder itself cannot be read.
    """
    found: dict[str, dict[int, Fingerprint]] = {}
    for model in _subfolders(folder, NAME_PATTERN):
        try:
            versions = {int(path.name): fingerprint(path) for path in _subfolders(model, VERSION_PATTERN)}
        except OSError:
            found[model.name] = {}
            continue
        if versions:
            found[model.name] = versions
    return found


def _subfolders(folder: Path, named: re.Pattern[str]) -> list[Path]:
    """The folders within one. No glob: that passes over what it may not read, as if it were not there."""
    names = os.listdir(folder)  # noqa: PTH208 - Path.iterdir is one thing or another by version
    return [folder / name for name in sorted(names) if named.fullmatch(name) and os.path.isdir(folder / name)]  # noqa: PTH112


def fingerprint(folder: Path) -> Fingerprint:
    """Name, size, time and inode of every file: another fingerprint, another content to prove."""
    entries: list[tuple[str, int, int, int]] = []
    try:
        with os.scandir(folder) as files:
            for file in files:
                stat = file.stat(follow_symlinks=False)
                entries.append((file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError:  # it vanishes while we look: the next look will tell
        return ()
    return tuple(sorted(entries))


def load_card(folder: Path) -> Card:
    """The card of a version. Raises ModelRefused naming the first thing that is wrong with it."""
    try:
        return read_card(read_regular_file(folder / CARD_FILE))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelRejected(f"{CARD_FILE}: {place + ': ' if place else ''}{first['msg']}") from error
