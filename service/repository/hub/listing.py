"""What a remote models folder offers, and the index of a folder on a web server. Does not need the extra `hub`."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

MAX_FILES = 10_000  # in a listing
INDEX_FILE = "index.json"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a listing: its size in bytes if the listing states it, and a tag that changes with its content."""

    size: int | None
    tag: str


Listing = dict[str, RemoteFile]
"""The files of a remote models folder by their paths in it."""


class Source(Protocol):
    """A remote models folder."""

    address: str

    async def list_files(self) -> Listing:
        """Return all files. Raises HubUnavailable if they cannot be listed, or if there are more than `MAX_FILES`."""
        ...

    def read(self, path: str, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield the content of a file. Raises HubUnavailable if it cannot be read, is slow or exceeds `max_bytes`."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Write a file. Raises HubUnavailable if that is not possible."""
        ...

    async def delete(self, path: str) -> None:
        """Delete a file. Raises HubUnavailable if that is not possible."""
        ...


class Index(BaseModel):
    """The file `index.json` of a models folder on a web server, which lists the files by their paths."""

    model_config = ConfigDict(extra="ignore", strict=True)

    files: dict[str, "IndexEntry"] = Field(max_length=MAX_FILES)


class IndexEntry(BaseModel):
    """A file of the index: its size in bytes and its SHA-256."""

    model_config = ConfigDict(extra="ignore", strict=True)

    size: NonNegativeInt
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
