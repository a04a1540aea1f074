"""Types of the settings whose text has a syntax. Their errors say what the variable must be."""

import json
import re
from base64 import b64decode
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator

from service.extras import install_extra

KNOWN_FORMATS = frozenset({"png", "jpeg", "webp", "tiff", "bmp", "gif", "avif", "heif"})
FORMAT_ALIASES = {"jpg": "jpeg", "jfif": "jpeg", "tif": "tiff", "heic": "heif"}
MODEL_SCHEMES = frozenset({"s3", "gs", "az", "https", "hf"})


def supported_formats() -> frozenset[str]:
    """Return the image formats that can be decoded here. HEIF needs the extra `heif`."""
    return KNOWN_FORMATS if find_spec("pillow_heif") else KNOWN_FORMATS - {"heif"}


def split_list(value: str) -> Sequence[str]:
    """Return the items of a list that is separated by commas."""
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_provider_options(text: str) -> dict[str, str]:
    """Return the options of an execution provider. Raises ValueError unless they are a JSON object of scalars."""
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f'must be a JSON object such as {{"device_type": "CPU"}}: {error}') from error
    if not isinstance(options, dict):
        raise ValueError('must be a JSON object such as {"device_type": "CPU"}')
    pairs = cast("dict[str, object]", options)
    for name, value in pairs.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"must have a text or a number as the value of {name[:50]}, as onnxruntime documents it")
    return {name: str(value) for name, value in pairs.items()}


def expand_user(path: Path) -> Path:
    """Replace ~ by the home folder, if there is one. A user without an entry in /etc/passwd has none, as in a pod."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _check_address(value: str) -> str:
    """Return an address of models without the slash at its end. Raises ValueError if it is invalid."""
    if not value:
        return value
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (parts.scheme not in MODEL_SCHEMES and not local) or not parts.netloc:
        raise ValueError("must be a folder, or an address of s3://, gs://, az://, https:// or hf://")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be an address without credentials and without ? or #: providers have variables for them")
    if parts.scheme == "hf" and not re.fullmatch(r"/[\w.-]+(@[\w.-]+)?(/[\w./-]*)?", parts.path):
        raise ValueError("must be an address such as hf://OWNER/REPOSITORY, hf://OWNER/REPOSITORY@REVISION/FOLDER")
    if not find_spec("obstore"):
        raise ValueError(f"must be a folder; for addresses, {install_extra('hub')}")
    return value.rstrip("/")


def _check_folder_or_address(value: str | Path) -> str | Path:
    return _check_address(value) if isinstance(value, str) and "://" in value else Path(value).expanduser()


def _check_device(value: str) -> str:
    value = value.strip().lower()
    if not re.fullmatch(r"[a-z0-9_]{1,63}", value):
        raise ValueError("must be auto, cpu, cuda or the name of another execution provider, such as openvino")
    return value


def _check_model_reference(value: str) -> str:
    if "@" in value and not re.fullmatch(r"[^@]+@[1-9][0-9]{0,8}", value):
        raise ValueError("must be the name of a model, or NAME@VERSION such as photo@2")
    return value


def _check_public_keys(value: str) -> str:
    for text in split_list(value):
        try:
            valid = len(b64decode(text, validate=True)) == 32
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(
                "must be public keys of 32 bytes in base64, as `hourglass models sign` prints them, separated by commas"
            )
    if value and not find_spec("cryptography"):
        raise ValueError(f"empty; for public keys, {install_extra('hub')}")
    return value


def _check_image_formats(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    formats = [FORMAT_ALIASES.get(name, name) for name in names]
    if not set(formats) <= KNOWN_FORMATS:
        raise ValueError(f"must be some of {', '.join(sorted(KNOWN_FORMATS))}, separated by commas")
    if "heif" in formats and "heif" not in supported_formats():
        raise ValueError(f"without heif; for it, {install_extra('heif')}")
    return ",".join(formats)


def _check_url_path(value: str) -> str:
    path = "".join(f"/{part}" for part in value.split("/") if part)
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", path) or "/.." in path:
        raise ValueError("must be a path such as /hourglass, of letters, digits and . _ ~ -")
    return path


def _check_networks(value: str) -> str:
    for text in split_list(value):
        if text != "*":
            try:
                ip_network(text, strict=False)
            except ValueError as error:
                raise ValueError(f"{text[:50]} is neither an address nor a network such as 10.0.0.0/8") from error
    return value


def _check_origins(value: str) -> str:
    for origin in split_list(value):
        if origin not in ("*", "null") and not re.fullmatch(r"[A-Za-z][\w+.-]*://[^/\s]+/?", origin):
            raise ValueError("must be origins such as https://example.org, separated by commas, or *")
    return value


def _check_rate(value: str) -> str:
    if value:
        from limits import parse  # imports much

        try:
            parse(value)
        except ValueError as error:
            raise ValueError("must be a number of requests and a period, such as 100/minute or 5/second") from error
    return value


FolderOrAddress = Annotated[str | Path, AfterValidator(_check_folder_or_address)]
"""A folder, or an address of a folder in a bucket, on a web server or on Hugging Face."""
Address = Annotated[str, AfterValidator(_check_address)]
DeviceName = Annotated[str, AfterValidator(_check_device)]
ModelReference = Annotated[str, AfterValidator(_check_model_reference)]
"""Name of a model, with or without a version: NAME or NAME@VERSION."""
PublicKeys = Annotated[str, AfterValidator(_check_public_keys)]
ImageFormats = Annotated[str, AfterValidator(_check_image_formats)]
UrlPath = Annotated[str, AfterValidator(_check_url_path)]
Networks = Annotated[str, AfterValidator(_check_networks)]
Origins = Annotated[str, AfterValidator(_check_origins)]
RateLimit = Annotated[str, AfterValidator(_check_rate)]
UserPath = Annotated[Path, AfterValidator(expand_user)]
"""A path in which ~ stands for the home folder."""
