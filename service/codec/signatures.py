"""Recognises the format of a file by its first bytes, also of many formats that cannot be decoded.

An error can then name the format that was sent and say what to do.
"""

from collections.abc import Collection
from importlib import import_module

from service.errors import InvalidImage, UnsupportedImage

DISPLAY_NAMES = {"HEIF": "HEIC/HEIF", "WEBP": "WebP"}
HEAD_BYTES = 512
# Name in Pillow, and the first bytes.
IMAGE_SIGNATURES = (
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("JPEG", b"\xff\xd8\xff"),
    ("GIF", b"GIF8"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
    ("BMP", b"BM"),
)
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
MIN_BOX_BYTES = 16
SEND_ANOTHER = "convert it to PNG, JPEG or WebP"
RAW_HINT = "a camera raw file; develop it to JPEG, PNG or TIFF"
ARCHIVE_HINT = "an archive; send the images in it"
VIDEO_HINT = "a video; send one of its frames as an image"
# First bytes, and what the file is.
OTHER_SIGNATURES = (
    (b"\xff\x0a", f"JPEG XL; {SEND_ANOTHER}"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", f"JPEG XL; {SEND_ANOTHER}"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", f"JPEG 2000; {SEND_ANOTHER}"),
    (b"\xff\x4f\xff\x51", f"JPEG 2000; {SEND_ANOTHER}"),
    (b"8BPS", f"a Photoshop file (PSD); {SEND_ANOTHER}"),
    (b"gimp xcf", f"a GIMP file (XCF); {SEND_ANOTHER}"),
    (b"FUJIFILMCCD-RAW", RAW_HINT),
    (b"IIU\0", RAW_HINT),
    (b"IIRO", RAW_HINT),
    (b"IIRS", RAW_HINT),
    (b"%PDF-", "a PDF; convert its pages to images"),
    (b"%!PS", "PostScript; convert its pages to images"),
    (b"PK\x03\x04", ARCHIVE_HINT),
    (b"\x1f\x8b", ARCHIVE_HINT),
    (b"Rar!", ARCHIVE_HINT),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE_HINT),
    (b"\x1aE\xdf\xa3", VIDEO_HINT),
    (b"\0\0\1\0", f"an icon (ICO); {SEND_ANOTHER}"),
    (b"\x76\x2f\x31\x01", f"OpenEXR; {SEND_ANOTHER}"),
    (b"#?RADIANCE", f"Radiance HDR; {SEND_ANOTHER}"),
    (b"qoif", f"QOI; {SEND_ANOTHER}"),
    (b"DDS ", f"DDS; {SEND_ANOTHER}"),
    (b"SIMPLE  =", f"FITS; {SEND_ANOTHER}"),
    *((b"P%d" % number, f"a Netpbm image; {SEND_ANOTHER}") for number in range(1, 8)),
    (b"iVBORw0KGgo", "base64 text; send the bytes themselves, or JSON with the text"),
    (b"/9j/", "base64 text; send the bytes themselves, or JSON with the text"),
    (b"UklGR", "base64 text; send the bytes themselves, or JSON with the text"),
    (b"data:image/", "a data URI; send the bytes themselves, or JSON with the text"),
    (b"\x93NUMPY", "an .npy array; send it with Content-Type application/x-npy"),
    (b"{", "JSON; send it with Content-Type application/json"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run `git lfs pull`"),
)
MARKUP = ((b"<svg", f"SVG, which has no pixels; {SEND_ANOTHER}"), (b"<html", "an HTML page, not an image"))
DICOM_OFFSET = 128
ZLIB_HEADER_DIVISOR = 31  # of the first two bytes of every zlib stream


def detect_image(data: bytes) -> str | None:
    """Return Pillow's name of a format that may be decodable, or None."""
    for name, signature in IMAGE_SIGNATURES:
        if data.startswith(signature):
            is_variant = (name == "TIFF" and _is_canon_raw(data)) or (name == "PNG" and _is_ios_png(data))
            return None if is_variant else name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    brands = _brands(data)
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else None


def _is_ios_png(data: bytes) -> bool:
    """Return whether a file that begins like a PNG is Apple's variant CgBI, whose pixels have no zlib header."""
    start = data.find(b"IDAT") + 4
    return data[12:16] == b"CgBI" and int.from_bytes(data[start : start + 2]) % ZLIB_HEADER_DIVISOR != 0


def _is_canon_raw(data: bytes) -> bool:
    """Return whether a file that begins like a TIFF is a raw file of a Canon camera (CR2)."""
    return data[8:10] == b"CR"


def describe_other(data: bytes) -> str | None:
    """Return what a file is whose format cannot be decoded, and what to do about it, or None if it is unknown."""
    brands = _brands(data)
    if b"crx " in brands or (data.startswith(b"II*\0") and _is_canon_raw(data)):
        return RAW_HINT
    if _is_ios_png(data):
        return f"a PNG of an iOS app (Apple's variant CgBI); {SEND_ANOTHER}"
    if brands or data[:4] == b"RIFF":
        return VIDEO_HINT
    if data[DICOM_OFFSET : DICOM_OFFSET + 4] == b"DICM":
        return f"DICOM; {SEND_ANOTHER}"
    head = data[:HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<"):
        return next((text for tag, text in MARKUP if tag in head or head.startswith(b"<!doctype " + tag[1:])), None)
    return next((text for signature, text in OTHER_SIGNATURES if data.startswith(signature)), None)


def _brands(data: bytes) -> frozenset[bytes]:
    """Return the brands of a file in the ISO base media format (ISO/IEC 14496-12), or an empty set."""
    if data[4:8] != b"ftyp" or len(data) < MIN_BOX_BYTES:
        return frozenset()
    end = min(max(int.from_bytes(data[:4]), MIN_BOX_BYTES), HEAD_BYTES)
    return frozenset((data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))))


def detect_format(data: bytes, formats: Collection[str]) -> str:
    """Return Pillow's name of the format, by the magic bytes.

    `formats` are the allowed formats in lower case. Raises InvalidImage if `data` is empty, and UnsupportedImage if the
    format is unknown or not allowed.
    """
    if not data:
        raise InvalidImage("the image is empty")
    detected = detect_image(data)
    if detected is not None and detected.lower() in formats:
        if detected == "HEIF":
            _load_heif_plugin()
        return detected
    allowed = ", ".join(sorted(formats))
    if detected is None:
        other = describe_other(data)
        content = f"the data are {other}" if other else "the data are not an image in a supported format"
        raise UnsupportedImage(f"{content}; accepted are {allowed}")
    raise UnsupportedImage(
        f"the image is {DISPLAY_NAMES.get(detected, detected)}, and accepted are {allowed}; "
        f"convert it, or add {detected.lower()} to HOURGLASS_IMAGE_FORMATS of the service"
    )


def _load_heif_plugin() -> None:
    """Register the plug-in for HEIF with Pillow. Raises UnsupportedImage if it is not installed."""
    try:
        import_module("pillow_heif").register_heif_opener(thumbnails=False)
    except ImportError as error:
        raise UnsupportedImage(
            "the image is HEIC/HEIF, which this service cannot decode without its extra heif; send JPEG or PNG"
        ) from error
