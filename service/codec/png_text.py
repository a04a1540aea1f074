"""Writes comments and IPTC as text chunks of PNG files, in the conventions of ImageMagick and ExifTool."""

from isal import isal_zlib

COMMENT_KEYWORD = b"Comment"
UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
HEX_LINE = 72  # digits on a line of a raw profile


def can_hold(comment: bytes) -> bool:
    """Return whether a text chunk can hold the comment, which must contain no zeros but at its end."""
    return b"\0" not in _text(comment)


def comment_chunk(comment: bytes) -> tuple[bytes, bytes]:
    """Return kind and body of a chunk: `iTXt` for text in UTF-8, and `tEXt` for other bytes, which stay as they are."""
    text = _text(comment)
    if not text.isascii() and _is_utf8(text):
        return b"iTXt", COMMENT_KEYWORD + b"\0\0\0\0\0" + text
    return b"tEXt", COMMENT_KEYWORD + b"\0" + text


def iptc_chunk(block: bytes) -> tuple[bytes, bytes]:
    """Return kind and body of the chunk that holds a block of Photoshop resources with IPTC."""
    digits = block.hex().encode()
    lines = b"\n".join(digits[at : at + HEX_LINE] for at in range(0, len(digits), HEX_LINE))
    text = b"\niptc\n%8d\n%s\n" % (len(block), lines)
    return b"zTXt", b"Raw profile type iptc\0\0" + isal_zlib.compress(text)


def _text(comment: bytes) -> bytes:
    """Return the bytes without the zeros at the end, and UTF-16 with a byte order mark as UTF-8."""
    encoding = UTF16_MARKS.get(comment[:2])
    if encoding:
        try:
            return comment[2:].decode(encoding).rstrip("\0").encode()
        except UnicodeDecodeError:
            pass
    return comment.rstrip(b"\0")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
