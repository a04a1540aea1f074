"""Decodes base64 and data URIs (RFC 4648, RFC 2397) in every spelling that common encoders write.

Accepted are the standard and the URL-safe alphabet, also mixed; missing or surplus padding; line ends, blanks and tabs;
and the percent-encoded characters of either alphabet. Work on long texts is done in chunks, because each call holds the
interpreter lock.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote_to_bytes

import pybase64

from service.errors import InvalidImage
from service.http.media_types import IMAGE_SIGNATURE

CHUNK_BYTES = 1 << 20  # bytes that are translated or searched by one call
PERCENT_CHUNK_BYTES = 1 << 16  # bytes of percent-encoded text that are decoded by one call
MAX_PREFIX_BYTES = 1 << 10  # longest media type and parameters of a data URI

WHITESPACE = b" \t\r\n\v\f\0"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
SURROUNDING = (b"\xef\xbb\xbf", b"\xc2\xa0")  # UTF-8 of a byte order mark and of a no-break space
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/= \t\r\n\v\f\0]")
DATA_URI = re.compile(rb"data:(?P<parameters>(?:[^,\"]|\"[^\"]*\")*?),", re.IGNORECASE)
BASE64_MARK = re.compile(rb"(?:^|;)\s*base64\s*$", re.IGNORECASE)
PLAIN_DATA_URI = re.compile(r"data:[\w/.+-]*;base64,", re.ASCII)
MAX_UNSUSPICIOUS = 512  # length up to which base64 without any plus sign is usual

FILE_NAME = re.compile(
    rb"(?![a-z0-9]+://|blob:|data:)[\w./\\ :~-]{1,200}\.(?:png|jpe?g|webp|tiff?|bmp|gif|avif|hei[cf]|npy|json|txt)\Z"
    rb"|(?!/9j/)(?:~?\.{0,2}/|[A-Za-z]:\\)[\w. -]{1,64}(?:[/\\][\w. -]{1,64}){0,8}\Z",
    re.IGNORECASE,
)
"""How names of files look that are sent in place of their content. The base64 of a JPEG begins with /9j/."""
FILE_NAME_HINT = "it looks like the name of a file; send its content, as base64 or in a form: curl -F image=@FILE"
MAX_FILE_NAME = 255

MISTAKES = (
    (re.compile(rb"b['\"]"), "this is the text of a Python bytes object; call .decode() before sending it"),
    (re.compile(rb"(?:https?|ftp|file|blob|gs|s3)://|blob:", re.IGNORECASE), "it is an address; nothing is fetched"),
    (re.compile(rb"@"), "it is the name of a file; send its content"),
    (re.compile(rb"\[object |undefined$|null$|NaN$"), "it is the text of a JavaScript object"),
    (re.compile(rb"base64,|image/[\w.+-]+;", re.IGNORECASE), "a data URI begins with data:"),
    (FILE_NAME, FILE_NAME_HINT),
)
"""Texts that are sent in place of base64 by mistake, and how to correct them."""


def decode_text(text: str) -> bytes:
    """Decode base64 or a data URI of an image. Raises InvalidImage, which gives the reason.

    Only text that needs no correction may encode anything else: what it is shows when it is opened.
    """
    if len(text) <= MAX_FILE_NAME and text.isascii() and FILE_NAME.match(text.encode()):
        raise InvalidImage(f"the image is not valid base64: {FILE_NAME_HINT}")
    match = PLAIN_DATA_URI.match(text, 0, MAX_PREFIX_BYTES)
    with suppress(ValueError):  # most texts need no correction
        return pybase64.b64decode(text[match.end() :] if match else text, validate=True)
    try:
        content = decode_bytes(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidImage("the image is not valid base64: it has characters that are no text") from error
    if content and not IMAGE_SIGNATURE.match(content):
        raise InvalidImage("the image is not valid base64: what it encodes is not a known image")
    return content


def decode_bytes(text: bytes) -> bytes:
    """Decode base64 or a data URI, as UTF-8 bytes. Raises InvalidImage, which gives the reason."""
    text = _strip(text)
    if text[:5].lower() != b"data:":
        return _decode_base64(text)
    match = DATA_URI.match(text, 0, MAX_PREFIX_BYTES)
    if not match:
        raise InvalidImage("a data URI must have the form data:image/png;base64,...")
    content = text[match.end() :]
    if BASE64_MARK.search(match["parameters"]):
        return _decode_base64(content)
    if not content.isascii():
        raise InvalidImage("a data URI without base64 must be percent-encoded")
    return decode_percent(content)


def decode_percent(text: bytes) -> bytes:
    """Decode percent-encoded bytes."""
    pieces: list[bytes] = []
    start = 0
    while start < len(text):
        end = start + PERCENT_CHUNK_BYTES
        while text[end - 2 : end].find(b"%") >= 0:  # cut before an escape, not inside it
            end -= 1
        pieces.append(unquote_to_bytes(text[start:end]))
        start = end
    return b"".join(pieces)


def _strip(text: bytes) -> bytes:
    """Remove what surrounds a text: white space, a byte order mark, and quotes that an encoder added once more."""
    before = b""
    while text != before:
        before, text = text, text.strip(WHITESPACE)
        for mark in SURROUNDING:
            text = text.removeprefix(mark).removesuffix(mark)
    if len(text) > 1 and text[:1] == text[-1:] == b'"':
        text = text[1:-1].replace(b"\\n", b"").replace(b"\\r", b"").replace(b"\\/", b"/")
    return text


def _decode_base64(text: bytes) -> bytes:
    """Decode base64 of any alphabet and padding, with white space. Raises InvalidImage, which gives the reason."""
    for pattern, reason in MISTAKES:
        if pattern.match(text):
            raise InvalidImage(f"the image is not valid base64: {reason}")
    if b"%" in text[:MAX_PREFIX_BYTES] or b"%" in text[-3:]:
        text = decode_percent(text)
    digits = _in_chunks(text, lambda chunk: chunk.translate(URL_SAFE, WHITESPACE))
    padding = len(digits) - len(digits := digits.rstrip(b"="))
    missing = -len(digits) % 4
    if b" " in text and _lost_plus_signs(text, len(digits), padding):
        raise InvalidImage("the image is not valid base64: its plus signs became blanks; write them as %2B in a form")
    if missing == 3:
        raise InvalidImage(f"the image is not valid base64: {_reason(text, len(digits))}")
    try:
        return pybase64.b64decode(digits + b"=" * missing, validate=True)
    except ValueError as error:
        raise InvalidImage(f"the image is not valid base64: {_reason(text, len(digits))}") from error


def _lost_plus_signs(text: bytes, digits: int, padding: int) -> bool:
    """Return whether the blanks of a text were plus signs, which the decoding of forms turns into blanks.

    Blanks that fold a text stand at equal distances. `digits`: count of characters besides white space and `padding`.
    """
    if b"+" in text or b"-" in text or (digits + padding + text.count(b" ")) % 4:
        return False
    folded = len({len(piece) for piece in text[:PERCENT_CHUNK_BYTES].split()[:-1]}) == 1
    return not folded and ((digits + padding) % 4 != 0 or digits > MAX_UNSUSPICIOUS)


def _reason(text: bytes, digits: int) -> str:
    """Return why a text is not base64; it has `digits` characters besides white space and padding."""
    for start in range(0, len(text), CHUNK_BYTES):
        match = NOT_BASE64.search(text[start : start + CHUNK_BYTES].translate(URL_SAFE))
        if match:
            return f"character {start + match.start() + 1} is outside the alphabet"
    padded = text.find(b"=")
    if 0 <= padded < len(text.rstrip(b"=" + WHITESPACE)):
        return f"padding within the text, at character {padded + 1}; encode the image as a whole"
    return f"{digits} characters are one too many or some are missing; the text is cut off"


def _in_chunks(text: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Apply `change` to a text in chunks of CHUNK_BYTES."""
    if len(text) <= CHUNK_BYTES:
        return change(text)
    return b"".join(change(text[start : start + CHUNK_BYTES]) for start in range(0, len(text), CHUNK_BYTES))
