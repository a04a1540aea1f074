"""Reads text files of any common encoding and any line ends."""

import codecs
from pathlib import Path

BYTE_ORDER_MARKS = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def read_text(path: Path, *, fallback: str | None = None) -> str:
    r"""Return the text of a file in UTF-8, UTF-16 or UTF-32, without its byte order mark, with `\n` as line end.

    Text that is none of these is decoded as `fallback`. Without a fallback it raises ValueError, with the line. Raises
    OSError if the file cannot be read.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), None) or _guess(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if fallback is None:
            line = data[: error.start].count(b"\n") + 1
            raise ValueError(f"line {line} is not {encoding.upper()}: save the file as UTF-8") from error
        text = data.decode(fallback)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guess(data: bytes) -> str:
    """Return the encoding of text without a byte order mark: UTF-16 has a zero byte beside every ASCII character."""
    head = data[:200]
    if len(head) > 1 and head[1::2].count(0) > len(head) // 4:
        return "utf-16-le"
    return "utf-16-be" if len(head) > 1 and head[::2].count(0) > len(head) // 4 else "utf-8"
