"""Undoes base64 that a gateway applied to a whole body, and explains other damage on the way from the client.

API gateways, serverless platforms and clients that treat binary data as text change bodies in known ways. Base64 is
undone where the text is unmistakable. Anything else is an error that names the cause.
"""

import re

import pybase64

from service.http.base64_text import FILE_NAME, FILE_NAME_HINT, URL_SAFE, WHITESPACE, decode_bytes
from service.http.media_types import IMAGE_SIGNATURE, JSON, MULTIPART, NPY

HEAD_BYTES = 256  # bytes of a body within which its kind is recognized
HEAD_DIGITS = 64  # base64 characters that are decoded to recognize the content; a multiple of four
MIN_BASE64_BYTES = 32  # length from which an unknown text of the base64 alphabet is treated as base64

CONTENT = {NPY: re.compile(rb"\x93NUMPY"), JSON: re.compile(rb"\s*\{"), MULTIPART: re.compile(rb"(?:\r\n)?--")}
"""How the decoded content of a body begins, by media type; bodies of other types are images."""

TEXT_DECODED = "the bytes were decoded as text on the way, which destroys them; a gateway must treat the type as binary"
LINE_ENDS = "line ends in the file were changed or removed; send the bytes unchanged, as `curl --data-binary` does"
DAMAGE = (
    (
        re.compile(rb"\xef\xbf\xbd(?:PNG|\xef\xbf\xbd)|GIF8[79]a.*\xef\xbf\xbd|RIFF.*\xef\xbf\xbd", re.DOTALL),
        TEXT_DECODED,
    ),
    (re.compile(rb"\xc2\x89PNG|\xc3\xbf\xc3\x98\xc3\xbf|\?PNG\r?\n|\tPNG\r?\n|\?\?\?[?\xe0]"), TEXT_DECODED),
    (re.compile(rb"\x89PNG(?!\r\n\x1a\n)"), LINE_ENDS),
    (
        re.compile(rb"(?:0x)?(?:89504e47|ffd8ff)|\\x(?:89|ff)", re.IGNORECASE),
        "it is hexadecimal text; send the bytes",
    ),
    (re.compile(rb"b['\"]"), "it is the text of a Python bytes object; send the bytes themselves"),
    (
        re.compile(rb"\x1f\x8b|\x28\xb5\x2f\xfd|PK\x03\x04|BZh|\xfd7zXZ"),
        "it is compressed; send the image in it",
    ),
    (re.compile(rb"--[^\r\n]+\r?\ncontent-disposition:", re.IGNORECASE), "it is a form; send its Content-Type with it"),
    (re.compile(rb"\s*[\[{]"), "it looks like JSON; send it as Content-Type: application/json"),
    (re.compile(rb"\s*<(?:!doctype|html|\?xml|svg)", re.IGNORECASE), "it is markup, not an image"),
    (re.compile(rb"@[\w./\\ -]+$"), "it is the name of a file; `curl --data-binary @FILE` sends its content"),
    (re.compile(rb"(?:https?|ftp|file|blob|s3|gs):", re.IGNORECASE), "it is an address; the service fetches nothing"),
    (re.compile(rb"\[object |undefined$|null$"), "it is the text of a JavaScript object; send its bytes"),
    (FILE_NAME, f"{FILE_NAME_HINT}, or as the body: curl --data-binary @FILE"),
)
"""How damaged bodies begin, with the cause."""

BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/_=\s-]{%d,}" % MIN_BASE64_BYTES)
CURL_HINT = "; it has no line ends: `curl -d @FILE` removes them, `curl --data-binary @FILE` sends the file unchanged"


def undo_base64(data: bytes, media_type: str) -> bytes:
    """Return the content of a body that is base64 text or a data URI as a whole, or the body itself.

    It is decoded only if the content begins as its media type says. Raises InvalidImage if the text is cut off.
    """
    content = CONTENT.get(media_type, IMAGE_SIGNATURE)
    head = data[:HEAD_BYTES]
    if content.match(head):
        return data
    stripped = head.lstrip(WHITESPACE + b"\xef\xbb\xbf")
    if stripped[:5].lower() == b"data:":
        return decode_bytes(data)
    digits = stripped.lstrip(b'"').translate(URL_SAFE, WHITESPACE).rstrip(b"=")[:HEAD_DIGITS]
    try:
        start = pybase64.b64decode(digits[: len(digits) // 4 * 4], validate=True)
    except ValueError:
        return data
    return decode_bytes(data) if content.match(start) else data


def explain_damage(data: bytes) -> str | None:
    """Return why the bytes are not an image, or None if the cause is unknown."""
    head = data[:HEAD_BYTES]
    for pattern, cause in DAMAGE:
        if pattern.match(head):
            return cause
    if BASE64_TEXT.fullmatch(head):
        return "it is base64 text, but not of a known image"
    return None


def explain_missing_line_ends(data: bytes) -> str:
    """Return a hint if a file has none of the bytes that `curl -d @FILE` removes, else an empty string."""
    return "" if any(byte in data for byte in (b"\0", b"\n", b"\r")) else CURL_HINT
