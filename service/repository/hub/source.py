"""Lists and reads the files of a remote models folder. The only module that imports obstore.

Credentials come from the environment as each provider documents it, and never from the address.
"""

import os
from asyncio import timeout
from collections.abc import AsyncGenerator
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, from_url
from pydantic import BaseModel, Field, ValidationError

from service.errors import ModelRejected
from service.repository.hub.errors import HubUnavailable
from service.repository.hub.listing import INDEX_FILE, MAX_FILES, Index, Listing, RemoteFile, Source

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

MAX_INDEX_BYTES = 8 << 20
STALL_SECONDS = 30.0  # without a byte, after which a read fails
MIN_BYTES_PER_SECOND = 64 << 10  # on average, after STALL_SECONDS
CHUNK_BYTES = 1 << 20
ALLOW_HTTP_VARIABLES = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
"""Variables of obstore for endpoints without TLS. It reads them itself unless it gets other options of a client."""
HUB_ENDPOINT = "https://huggingface.co"


class HubSibling(BaseModel):
    """A file in the description of a repository of the Hugging Face Hub."""

    rfilename: str


class HubRevision(BaseModel):
    """The description of one revision of a repository of the Hugging Face Hub."""

    sha: str = Field(pattern=r"^[0-9a-f]{40,64}$")
    siblings: list[HubSibling] = Field(max_length=MAX_FILES)


class BucketSource:
    """A folder in a bucket of S3, Google Cloud Storage or Azure Blob Storage."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._store = _open(address, from_url)

    async def list_files(self) -> Listing:
        """Return all objects below the address."""
        files: Listing = {}
        try:
            async with timeout(4 * STALL_SECONDS):
                async for page in obstore.list(self._store, chunk_size=1000):
                    for entry in page:
                        tag = entry["e_tag"] or f"{entry['size']} {entry['last_modified']}"
                        files[entry["path"]] = RemoteFile(entry["size"], tag)
                    if len(files) > MAX_FILES:
                        raise HubUnavailable(f"holds more than {MAX_FILES} objects: use a prefix of models only")
        except HubUnavailable:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error
        return files

    def read(self, path: str, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield the content of an object."""
        return _read(self._store, path, max_bytes)

    async def write(self, path: str, data: bytes) -> None:
        """Write an object."""
        try:
            await obstore.put_async(self._store, path, data)
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error

    async def delete(self, path: str) -> None:
        """Delete an object."""
        try:
            await obstore.delete_async(self._store, path)
        except (BaseError, OSError, ValueError) as error:
            raise _unavailable(error) from error


class ReadOnlySource:
    """What web servers and the Hugging Face Hub have in common: they are read and not written."""

    address: str

    async def write(self, path: str, data: bytes) -> None:
        """Raise HubUnavailable."""
        raise HubUnavailable(f"{path} of {len(data)} bytes cannot be written: push to a folder and upload that")

    async def delete(self, path: str) -> None:
        """Raise HubUnavailable."""
        raise HubUnavailable(f"{path} cannot be deleted: change the folder on the server")


class WebSource(ReadOnlySource):
    """A folder on a web server, with an `index.json` that lists its files."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._store = _open(address.rstrip("/"), HTTPStore.from_url)

    async def list_files(self) -> Listing:
        """Return the files of the index."""
        try:
            index = Index.model_validate_json(await _read_whole(self._store, INDEX_FILE))
        except ValidationError as error:
            raise HubUnavailable(f"{INDEX_FILE} is not an index as `hourglass models push` writes it") from error
        return {path: RemoteFile(entry.size, entry.sha256) for path, entry in index.files.items()}

    def read(self, path: str, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield the content of a file."""
        return _read(self._store, path, max_bytes)


class HuggingFaceSource(ReadOnlySource):
    """A folder in a model repository of the Hugging Face Hub: `hf://OWNER/NAME[@REVISION][/FOLDER]`.

    All files are read from the commit that the revision named when they were listed. `HF_ENDPOINT` and `HF_TOKEN` have
    the meaning that the Hub documents.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        owner, _, rest = address.removeprefix("hf://").partition("/")
        name, _, folder = rest.partition("/")
        name, _, revision = name.partition("@")
        self._repository, self._revision = f"{owner}/{name}", revision or "main"
        self._prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        self._commit = ""
        self._store = _open(
            os.environ.get("HF_ENDPOINT") or HUB_ENDPOINT, HTTPStore.from_url, os.environ.get("HF_TOKEN")
        )

    async def list_files(self) -> Listing:
        """Return the files of the newest commit of the revision. The Hub does not state their sizes."""
        path = f"api/models/{self._repository}/revision/{self._revision}"
        try:
            revision = HubRevision.model_validate_json(await _read_whole(self._store, path))
        except ValidationError as error:
            raise HubUnavailable("the answer of the Hub is not the description of a repository") from error
        self._commit = revision.sha
        names = [sibling.rfilename for sibling in revision.siblings if sibling.rfilename.startswith(self._prefix)]
        return {name.removeprefix(self._prefix): RemoteFile(None, self._commit) for name in names}

    def read(self, path: str, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield the content of a file of the listed commit."""
        return _read(self._store, f"{self._repository}/resolve/{self._commit}/{self._prefix}{path}", max_bytes)


def open_source(address: str) -> Source:
    """Return the remote models folder at an address of `s3`, `gs`, `az`, `https`, `http` or `hf`.

    Opens no connection. Raises HubUnavailable if the address or the settings of the provider are invalid.
    """
    scheme = urlsplit(address).scheme
    if scheme == "hf":
        return HuggingFaceSource(address)
    return WebSource(address) if scheme in ("http", "https") else BucketSource(address)


class _Opener(Protocol):
    def __call__(
        self, url: str, /, *, client_options: "ClientConfig", retry_config: "RetryConfig"
    ) -> "ObjectStore": ...


def _open(address: str, opener: "_Opener", token: str | None = None) -> "ObjectStore":
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=STALL_SECONDS),
        "timeout": timedelta(days=1),  # `_read` limits the time by the bytes that have arrived
    }
    allowed = any(os.environ.get(name, "").lower() in ("true", "1") for name in ALLOW_HTTP_VARIABLES)
    if address.startswith("http://") or allowed:
        options["allow_http"] = True
    if token:
        options["default_headers"] = {"Authorization": f"Bearer {token}"}
    retries: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=STALL_SECONDS)}
    try:
        return opener(address, client_options=options, retry_config=retries)
    except (BaseError, OSError, ValueError) as error:
        raise _unavailable(error) from error


async def _read(store: "ObjectStore", path: str, max_bytes: int) -> AsyncGenerator[bytes]:
    received, start = 0, monotonic()
    try:
        async with timeout(STALL_SECONDS):
            answer = await obstore.get_async(store, path)
        if answer.meta["size"] > max_bytes:
            raise ModelRejected(f"{path} has {answer.meta['size']} bytes, and there is room for {max_bytes}")
        chunks = answer.stream(min_chunk_size=CHUNK_BYTES).__aiter__()
        while True:
            seconds = STALL_SECONDS + received / MIN_BYTES_PER_SECOND - (monotonic() - start)
            async with timeout(seconds + CHUNK_BYTES / MIN_BYTES_PER_SECOND):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            received += len(chunk)
            if received > max_bytes:
                raise ModelRejected(f"{path} has more than {max_bytes} bytes, for which there is room")
            yield bytes(chunk)
    except HubUnavailable:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise _unavailable(error, path) from error
    if received != answer.meta["size"]:
        raise HubUnavailable(f"{path} ended after {received} of {answer.meta['size']} bytes")


async def _read_whole(store: "ObjectStore", path: str) -> bytes:
    try:
        return b"".join([chunk async for chunk in _read(store, path, MAX_INDEX_BYTES)])
    except ModelRejected as problem:
        raise HubUnavailable(problem.detail) from problem


def _unavailable(error: Exception, path: str = "") -> HubUnavailable:
    """Return the error with the first line of the library's message, which may be long."""
    where = f"{path}: " if path else ""
    if isinstance(error, TimeoutError):
        return HubUnavailable(f"{where}no answer in time, or fewer than {MIN_BYTES_PER_SECOND >> 10} KiB a second")
    if isinstance(error, FileNotFoundError):
        return HubUnavailable(f"{where}there is no such file")
    return HubUnavailable(f"{where}{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}")
