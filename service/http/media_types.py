"""Media types of bodies and responses, with the other names that clients use for them."""

import re

JSON, NPY = "application/json", "application/x-npy"
BITSTREAM = "application/x-hourglass-bitstream"
MULTIPART, URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"

GENERIC_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "application/binary",
        "application/download",
        "application/force-download",
        "application/unknown",
        "application/x-binary",
        "application/x-download",
        "application/x-octet-stream",
        "binary/octet-stream",  # S3's default
        "content/unknown",
        URLENCODED,  # curl's default
    }
)
"""Content-Types that say nothing about the body, and are taken as an image."""

ALIASES = {
    "application/png": "image/png",
    "application/x-png": "image/png",
    "image/apng": "image/png",
    "image/vnd.mozilla.apng": "image/png",
    "image/x-apng": "image/png",
    "image/x-citrix-png": "image/png",
    "image/x-png": "image/png",
    "application/jpg": "image/jpeg",
    "application/x-jpg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/jpe": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/pipeg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/pjpg": "image/jpeg",
    "image/x-citrix-jpeg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-jpg": "image/jpeg",
    "image/x-webp": "image/webp",
    "application/x-json": JSON,
    "text/json": JSON,
    "text/x-json": JSON,
    "application/npy": NPY,
    "application/numpy": NPY,
    "application/x-numpy": NPY,
    "*": "*/*",  # Java's URLConnection
}

EXTENSIONS = {
    "json": JSON,
    "npy": NPY,
    "numpy": NPY,
    "png": "image/png",
    "apng": "image/png",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "jpe": "image/jpeg",
    "jfif": "image/jpeg",
    "pjpeg": "image/jpeg",
    "webp": "image/webp",
}
"""Media types by the extension of a file, or by a short name."""

IMAGE_SIGNATURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|....ftyp|\xff\x0a|\0\0\0\x0c(?:JXL|jP)",
    re.DOTALL,
)
"""How image files begin, also those of formats that the service does not decode."""

JSON_SUFFIX = re.compile(r"application/[a-z0-9.-]+\+json")


def normalize(media_type: str) -> str:
    """Return the registered name of a media type: lower case, without parameters, aliases replaced."""
    name = media_type.partition(";")[0].strip().lower()
    return ALIASES.get(name, name)


def content_media_type(header: str) -> str:
    """Return the media type of a Content-Type header. Raises ValueError if it has several or none."""
    types = {normalize(part) for part in header.split(",")} if header else {""}
    if len(types) > 1 or (header and types == {""}):
        raise ValueError("not exactly one media type")
    name = types.pop()
    return JSON if JSON_SUFFIX.fullmatch(name) else name


def format_media_type(name: str) -> str:
    """Return the media type of a `format` parameter: a media type or extension in any spelling."""
    text = name.strip().lower()
    return EXTENSIONS.get(text.removeprefix("."), normalize(text))
