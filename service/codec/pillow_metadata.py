"""Takes the metadata of formats that Pillow reads alone: TIFF, BMP, GIF, AVIF and HEIF."""

from PIL import Image, TiffImagePlugin

from service.codec import calibration, exif, photoshop, tiff_exif
from service.codec.density import Density
from service.codec.gif_blocks import find_xmp
from service.codec.metadata import MAX_METADATA_BYTES, FileParts

PHOTOSHOP_TAG = 34377
IPTC_TAG = 33723
XMP_TAG = 700


def take(parts: FileParts, image: Image.Image) -> None:
    """Take the profile and the metadata of an open image. Pillow itself applies the orientation of TIFF files."""
    metadata = parts.metadata
    profile = image.info.get("icc_profile")
    parts.icc = profile if isinstance(profile, bytes) else b""
    if image.format == "BMP" and not parts.icc:
        parts.icc = calibration.of_bmp(parts.image) or b""
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        metadata.comments = (comment[:65533],)
    dpi = image.info.get("dpi")
    if dpi and min(dpi) > 0:
        metadata.density = Density(float(dpi[0]), float(dpi[1]), "inch")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        metadata.xmp = _bytes(image.tag_v2.get(XMP_TAG))
        iptc = _bytes(image.tag_v2.get(IPTC_TAG))
        if tiff_exif.EXIF_TAGS.intersection(image.tag_v2):
            try:
                metadata.exif = tiff_exif.extract(parts.image, MAX_METADATA_BYTES)
            except ValueError:
                metadata.mark_broken("exif")
        metadata.photoshop = _bytes(image.tag_v2.get(PHOTOSHOP_TAG)) or (photoshop.from_iptc(iptc) if iptc else b"")
    else:
        metadata.exif = _bytes(image.info.get("exif")).removeprefix(exif.PREFIX)
        metadata.xmp = find_xmp(parts.image) if image.format == "GIF" else _bytes(image.info.get("xmp"))
    if _has_more_frames(image):
        metadata.mark_other("frames")
    image.info.pop("xmp", None)  # Pillow would apply an orientation that stands there alone
    metadata.check()


def _has_more_frames(image: Image.Image) -> bool:
    """Return whether an animation or a file of several pages follows. Nothing is decoded."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # of a broken second frame
        return True


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
