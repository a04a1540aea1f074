"""Lists the files of a folder, without those that operating systems and storage devices put there.

The command line and the training read folders by this rule.
"""

import os
from collections.abc import Callable
from pathlib import Path

FORMAT_BY_SUFFIX = {  # format by suffix
    **dict.fromkeys((".png", ".apng"), "png"),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "heif"),
    ".webp": "webp",
    ".gif": "gif",
    ".avif": "avif",
    ".jxl": "jxl",
}
_SYSTEM_FOLDERS = {
    "__macosx",
    "@eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "recycler",
    "lost+found",
    "system volume information",
    "network trash folder",
    "temporary items",
}
_SYSTEM_FILES = {
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "folder.htt",
    "icon\r",
    "picasa.ini",
    "zbthumbnail.info",
    "synofile_thumb",
}


def is_system_file(name: str) -> bool:
    """Return whether a file of this name is hidden, of an operating system or of an office program."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM_FILES


def is_system_folder(name: str) -> bool:
    """Return whether a folder of this name is hidden or of an operating system or storage device."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def list_files(root: Path, *, unreadable: Callable[[OSError], None], leave_out: Path | None = None) -> list[Path]:
    """Return the files below a folder, sorted by path, without system files.

    Links are followed; a folder is visited once. `unreadable` gets the error of each folder that cannot be read.
    Nothing below the folder `leave_out` is returned, unless that is `root` itself.
    """
    seen = {identity(root)}
    left_out = identity(leave_out) if leave_out and identity(leave_out) != identity(root) else None
    files: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        keep: list[str] = []
        for name in sorted(folders):
            folder_id = identity(Path(folder, name))
            if is_system_folder(name) or folder_id in (left_out, None) or folder_id in seen:
                continue
            seen.add(folder_id)
            keep.append(name)
        folders[:] = keep
        files += [Path(folder, name) for name in names if not is_system_file(name)]
    return sorted(files)


def identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file or folder, or None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
