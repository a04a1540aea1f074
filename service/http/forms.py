"""Parses forms: file fields are images, all other fields are parameters of the operation."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.card import Operation
from service.errors import InvalidImage, InvalidParameter, MalformedBody, Problem, TooManyItems
from service.http.base64_text import decode_bytes, decode_percent
from service.http.gateways import undo_base64
from service.http.limits import describe_items
from service.http.media_types import MULTIPART, URLENCODED
from service.http.parameters import describe_unknown, parameter_names

FILE_FIELDS = ("image", "images", "file", "files", "upload")
"""Names of file fields. Each may be repeated, and end in brackets as in `image[]` or `image[0]`."""

IGNORED_FIELDS = frozenset({"_charset_"})  # added by browsers (HTML standard), says nothing about the request
INDEX = re.compile(r"\[\d{0,4}\]$")
PARSE_CHUNK_BYTES = 1 << 20  # bytes of a form that are parsed at once
MAX_EXTRA_PARTS = 24  # parts besides the images
MAX_VALUE_BYTES = 1 << 10  # longest text field
URLENCODED_START = re.compile(rb"[A-Za-z_][\w.\-]{0,40}(?:\[\d{0,4}\]|%5B\d{0,4}%5D)?=", re.ASCII | re.IGNORECASE)
FILENAME_EXTENDED = re.compile(r";\s*filename\*", re.IGNORECASE)
TEXT_CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"})


@dataclass(slots=True)
class Form:
    """A parsed form: the images in order, each possibly replaced by its problem, and the text fields by name."""

    images: list[bytes | Problem] = field(default_factory=list[bytes | Problem])
    fields: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Part:
    """One field of a form. `filename` is None for text fields. `encoding`: Content-Transfer-Encoding, lower case."""

    name: str
    content: bytes
    filename: str | None = None
    charset: str = "utf-8"
    encoding: str = ""


def is_form(data: bytes, media_type: str) -> bool:
    """Return whether a body is a form: multipart, or URL-encoded and not an image under curl's default type."""
    if media_type == URLENCODED:
        return URLENCODED_START.match(data) is not None
    return media_type == MULTIPART


def parse_form(data: bytes, content_type: str, operation: Operation, max_items: int) -> Form:
    """Parse a form of either type. Raises MalformedBody, InvalidParameter, InvalidImage or TooManyItems."""
    multipart = content_type[: len(MULTIPART)].lower() == MULTIPART
    data = undo_base64(data, MULTIPART) if multipart else data
    parts = _multipart_parts(data, content_type, max_items) if multipart else _urlencoded_parts(data, max_items)
    form = Form()
    names = parameter_names(operation)
    empty_files = 0
    for part in parts:
        name = part.name.strip()
        if name in names:
            _add_field(form, name, part)
        elif INDEX.sub("", name).lower() in FILE_FIELDS:
            if part.filename == "" and not part.content:
                empty_files += 1  # a browser's file input in which nothing was chosen
            else:
                form.images.append(_image(part))
        elif name not in IGNORED_FIELDS:
            raise InvalidParameter(
                f"{describe_unknown(name, (*names, *FILE_FIELDS), 'form field')}; {_expected(operation, names)}"
            )
        if len(form.images) > max_items:
            raise TooManyItems(describe_items(max_items))
    if not form.images:
        cause = "no file was chosen in the form" if empty_files else "the form has no file"
        raise InvalidImage(f"{cause}; {_expected(operation, names)}")
    return form


def _expected(operation: Operation, names: tuple[str, ...]) -> str:
    return (
        f"/{operation} takes the file field {FILE_FIELDS[0]} (or {', '.join(FILE_FIELDS[1:])}) and {', '.join(names)}"
    )


def _add_field(form: Form, name: str, part: Part) -> None:
    """Add a text field. Empty ones are left out, because browsers send all inputs of a form."""
    if len(part.content) > MAX_VALUE_BYTES:
        raise InvalidParameter(f"{name}: the form field has more than {MAX_VALUE_BYTES} bytes")
    try:
        charset = codecs.lookup(part.charset.strip("'")).name
        if charset not in TEXT_CHARSETS:
            raise LookupError
        value = part.content.decode(charset).strip()
    except (UnicodeError, LookupError) as error:
        raise InvalidParameter(f"{name}: the form field is not text in its charset; send UTF-8") from error
    if name in form.fields and form.fields[name] != value:
        raise InvalidParameter(f"{name}: the form has several values")
    if value:
        form.fields[name] = value


def _image(part: Part) -> bytes | Problem:
    """Return the encoded image of a part, whether it is binary or base64 text."""
    try:
        if part.encoding == "base64":
            return decode_bytes(part.content)
        if part.encoding in ("quoted-printable", "x-uuencode", "uuencode"):
            return InvalidImage(f"Content-Transfer-Encoding {part.encoding} is not supported; send binary or base64")
        return undo_base64(part.content, "")
    except Problem as problem:
        return problem.without_traceback()


def _multipart_parts(data: bytes, content_type: str, max_items: int) -> Iterator[Part]:
    """Yield the parts of a multipart form. Raises MalformedBody."""
    _, options = parse_options_header(content_type)
    if not options.get("boundary"):
        raise MalformedBody(
            "the Content-Type has no boundary; let the client library set it, or send multipart/form-data; boundary=..."
        )
    count = max_items + MAX_EXTRA_PARTS
    try:
        with PushMultipartParser(options["boundary"], max_segment_count=count, header_charset="latin-1") as parser:
            part, chunks = Part("", b""), list[bytes]()
            for at in range(0, len(data), PARSE_CHUNK_BYTES):
                for event in parser.parse(data[at : at + PARSE_CHUNK_BYTES]):
                    if isinstance(event, MultipartSegment):
                        part, chunks = _start_part(event), []
                    elif event is not None:
                        chunks.append(bytes(event))
                    else:
                        part.content = b"".join(chunks)
                        yield part
    except (MultipartError, UnicodeError) as error:
        cause = error.with_traceback(None)  # avoid a cycle: the parser keeps the error, and its traceback the parser
        raise MalformedBody(
            "the multipart body is malformed, truncated or has too many parts; "
            "it must begin with the boundary of the Content-Type, and its lines must end in CR LF"
        ) from cause


def _start_part(segment: MultipartSegment) -> Part:
    """Return a part without its content, from its headers."""
    headers = dict(segment.headerlist)
    filename = segment.filename
    if filename is None and FILENAME_EXTENDED.search(headers["Content-Disposition"]):
        filename = "encoded"  # RFC 5987 or RFC 2231; only its presence matters
    encoding = headers.get("Content-Transfer-Encoding", "").strip().lower()
    return Part(segment.name or "", b"", filename, segment.charset or "utf-8", encoding)


def _urlencoded_parts(data: bytes, max_items: int) -> Iterator[Part]:
    """Yield the fields of a URL-encoded form. Images in it are base64 or data URIs. Raises MalformedBody."""
    if data.count(b"&") > max_items + MAX_EXTRA_PARTS:
        raise MalformedBody("the form has too many fields")
    for pair in data.split(b"&"):
        if not pair:
            continue
        encoded_name, _, value = pair.partition(b"=")
        name = unquote_to_bytes(encoded_name[:256].replace(b"+", b" ")).decode("utf-8", "replace")
        if INDEX.sub("", name).lower() in FILE_FIELDS:  # plus is kept: base64 has no blanks, but plus signs
            yield Part(name, decode_percent(value), encoding="base64")
        else:
            yield Part(name, unquote_to_bytes(value[: 3 * MAX_VALUE_BYTES + 3].replace(b"+", b" ")))
