"""The metadata of an image, independent of the file format that it came from and of the one that it is written in."""

from dataclasses import dataclass, field, replace
from typing import Literal

from service.codec import exif, photoshop, png_text, xmp
from service.codec.density import Density

MAX_METADATA_BYTES = 1 << 20
"""Largest EXIF block, XMP packet, Photoshop resource block, text or ICC profile that is copied to an answer."""

Token = Literal[
    "comment", "exif", "frames", "gamma", "icc", "iptc", "other", "resolution", "text", "trailer", "transparency", "xmp"
]
"""A kind of metadata, as `X-Metadata-Dropped` names it."""

TOKENS: dict[str, Token] = {
    "exif": "exif",
    "xmp": "xmp",
    "extended_xmp": "xmp",
    "photoshop": "iptc",
    "texts": "text",
    "comments": "comment",
    "density": "resolution",
    "colour": "gamma",
}
"""Fields of `Metadata` and the token of each."""

HELD_FIELDS = {
    "image/jpeg": {"exif", "xmp", "extended_xmp", "photoshop", "comments", "density"},
    "image/png": {"exif", "xmp", "photoshop", "texts", "comments", "colour", "density"},
    "image/webp": {"exif", "xmp", "density"},
    "image/tiff": {"xmp", "photoshop", "density"},
    "image/avif": {"exif", "xmp"},
    "image/bmp": {"density"},
    "image/gif": set[str](),
}
"""Fields of `Metadata` that are written, by media type."""

FIRST_TRANSPOSED = 5  # orientations 5 to 8 exchange width and height
JPEG_SEGMENT_BYTES = 65533
JPEG_CAPACITY = {"exif": JPEG_SEGMENT_BYTES - len(exif.PREFIX), "xmp": JPEG_SEGMENT_BYTES - len(xmp.JPEG_PREFIX)}
"""Most bytes of a kind that fit the one segment of a JPEG file which readers expect."""


@dataclass(slots=True)
class Metadata:
    """Metadata of an image file as the bytes that stood in it. All are empty by default.

    `exif` is a TIFF structure. `xmp` is an XMP packet, and `extended_xmp` the segments of JPEG files that continue it.
    `photoshop` is a block of Photoshop resources, one of which is IPTC. `texts` are the PNG chunks of text and of time
    (kind and body). `colour` are the PNG chunks which say what the values mean: `gAMA`, `cHRM`, `sRGB`, `cICP`.
    `broken` names what was invalid or too large, and `other` what no answer can hold.
    """

    exif: bytes = b""
    xmp: bytes = b""
    extended_xmp: tuple[bytes, ...] = ()
    photoshop: bytes = b""
    texts: tuple[tuple[bytes, bytes], ...] = ()
    comments: tuple[bytes, ...] = ()
    density: Density | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    broken: frozenset[Token] = frozenset()
    other: frozenset[Token] = frozenset()
    orientation: int = 1  # 1 to 8, of EXIF
    unapplied_exif: bytes = b""  # an EXIF block whose orientation viewers ignore

    def mark_broken(self, token: Token) -> None:
        """Name a kind of which something was invalid or too large."""
        self.broken = frozenset((*self.broken, token))

    def mark_other(self, token: Token) -> None:
        """Name a kind that no answer can hold."""
        self.other = frozenset((*self.other, token))

    def is_transposed(self) -> bool:
        """Return whether applying the orientation exchanges width and height."""
        return self.orientation >= FIRST_TRANSPOSED

    def is_empty(self) -> bool:
        """Return whether there is nothing to copy and nothing to name."""
        return not (
            self.density
            or self.colour
            or self.exif
            or self.xmp
            or self.photoshop
            or self.texts
            or self.comments
            or self.extended_xmp
            or self.broken
            or self.other
        )

    def check(self) -> None:
        """Read the orientation, remove what is invalid or too large, and name it in `broken`."""
        self.orientation = exif.orientation(self.exif)
        self.exif = self.exif or self.unapplied_exif
        if self.exif and (len(self.exif) > MAX_METADATA_BYTES or not exif.is_valid(self.exif)):
            self.exif = b""
            self.mark_broken("exif")
        if self.xmp and (len(self.xmp) > MAX_METADATA_BYTES or not xmp.is_valid(self.xmp)):
            self.xmp = b""
            self.extended_xmp = ()
            self.mark_broken("xmp")
        if self.photoshop and (len(self.photoshop) > MAX_METADATA_BYTES or not photoshop.is_valid(self.photoshop)):
            self.photoshop = b""
            self.mark_broken("iptc")

    def stripped(self) -> "Metadata":
        """Return only what the meaning of the colours depends on."""
        if self.is_empty():
            return self
        return Metadata(colour=self.colour, broken=self.broken)

    def upright(self, size: tuple[int, int]) -> "Metadata":
        """Return the metadata for upright pixels of `size` (width and height).

        The orientation is 1, width and height are `size`, and thumbnails are removed. All else stays as it is.
        """
        if self.is_empty():
            return self
        density = self.density or (exif.density(self.exif) if self.exif else None)
        transposed = self.is_transposed()
        return replace(
            self,
            exif=exif.upright(self.exif, size, transposed) if self.exif else b"",
            xmp=xmp.upright(self.xmp, size) if self.xmp else b"",
            photoshop=photoshop.without_thumbnails(self.photoshop) if self.photoshop else b"",
            density=density.transposed() if density and transposed else density,
        )

    def fitting(self, media_type: str) -> tuple["Metadata", set[Token]]:
        """Return what a file of this media type can hold, and the names of what it cannot."""
        if self.is_empty():
            return self, set()
        kept = replace(self)
        lost: set[Token] = {*self.broken, *self.other}
        held = HELD_FIELDS[media_type]
        for name, token in TOKENS.items():
            if name not in held:
                _drop(kept, lost, name, token)
        if media_type == "image/jpeg":
            if len(kept.exif) > JPEG_CAPACITY["exif"]:
                _drop(kept, lost, "exif", "exif")
            if len(kept.xmp) > JPEG_CAPACITY["xmp"]:
                _drop(kept, lost, "xmp", "xmp")
            if kept.density and not kept.density.jfif():
                _drop(kept, lost, "density", "resolution")
        elif media_type == "image/png":
            kept.comments = tuple(comment for comment in self.comments if png_text.can_hold(comment))
            if len(kept.comments) < len(self.comments):
                lost.add("comment")
        elif media_type == "image/webp" and kept.density:
            kept.exif = kept.exif or exif.from_density(kept.density)
            if exif.density(kept.exif) is None:
                _drop(kept, lost, "density", "resolution")
        return kept, lost


@dataclass(slots=True)
class FileParts:
    """An image file in parts.

    `image` is a file of the same format without metadata. `icc` is the colour profile, not verified. `inverted_cmyk`
    says that CMYK values are stored as 255 minus ink.
    """

    image: bytes
    icc: bytes = b""
    inverted_cmyk: bool = False
    metadata: Metadata = field(default_factory=Metadata)


def _drop(metadata: Metadata, lost: set[Token], name: str, token: Token) -> None:
    """Empty a field, and add its token if it was not empty."""
    value = getattr(metadata, name)
    if not value:
        return
    setattr(metadata, name, None if name == "density" else type(value)())
    if name != "colour" or not is_srgb(value):  # without the chunks of sRGB, a reader assumes the same
        lost.add(token)


def is_srgb(chunks: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Return whether the colour chunks of a PNG file say no more than that it is sRGB."""
    kinds = {kind for kind, _ in chunks}
    return b"cICP" not in kinds and (b"sRGB" in kinds or all(SRGB_CHUNKS[kind] == body for kind, body in chunks))


SRGB_CHUNKS = {
    b"gAMA": (45455).to_bytes(4, "big"),
    b"cHRM": b"".join(x.to_bytes(4, "big") for x in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
}
