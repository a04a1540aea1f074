"""Limits of the sizes that image formats can hold, known before an image is decoded."""

from service.errors import NotAcceptable

# Largest width and height in pixels. PNG and BMP store 31 bits, TIFF 32, AVIF and GIF 16, and WebP 14. JPEG stores 16
# bits, of which libjpeg accepts values up to JPEG_MAX_DIMENSION.
MAX_SIDES = {
    "image/png": (1 << 31) - 1,
    "image/jpeg": 65_500,
    "image/webp": 16_383,
    "image/tiff": (1 << 32) - 1,
    "image/bmp": (1 << 31) - 1,
    "image/gif": 65_535,
    "image/avif": 65_535,
}
TOO_LARGE_HINT = "scale it down, or raise HOURGLASS_MAX_PIXELS or HOURGLASS_MAX_PIXELS_ANY_SIZE of the service"
SMALLEST_MAX_SIDE = min(MAX_SIDES.values())
NAMES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
}


def fits(media_type: str, size: tuple[int, int]) -> bool:
    """Return whether a format can hold an image of `size` (two sides in pixels, in any order)."""
    return max(size) <= MAX_SIDES[media_type]


def types_too_small(size: tuple[int, int]) -> tuple[str, ...]:
    """Return the media types that cannot hold an image of `size` (two sides in pixels, in any order)."""
    if max(size) <= SMALLEST_MAX_SIDE:  # nearly every request
        return ()
    return tuple(media_type for media_type in MAX_SIDES if not fits(media_type, size))


def describe_limit(media_type: str) -> str:
    """Return a sentence that states the limit of a format."""
    return f"a {NAMES[media_type]} image can have at most {MAX_SIDES[media_type]} pixels on each side"


def require_fits(media_type: str, size: tuple[int, int]) -> None:
    """Raise NotAcceptable if a format cannot hold an image of `size` (two sides in pixels, in any order)."""
    if not fits(media_type, size):
        raise NotAcceptable(f"{describe_limit(media_type)}, and the response has {max(size)}; accept image/png")
