"""Generates the table of metadata: what an answer keeps, by the format of the image sent and that of the answer.

Each cell is measured: a file with one kind of metadata is decoded and encoded again.
"""

import struct

import pillow_heif
from PIL import Image, ImageCms

from docs.markdown import table
from service import codec
from service.engine.images import postprocess
from tests.support.image_files import (
    IPTC,
    XMP,
    calibrated_bmp,
    chunk,
    exif,
    gif_with_xmp,
    grey_profile,
    photoshop,
    profile_segments,
    riff_chunk,
    saved,
    segment,
    waves,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

ANSWERS = ("image/jpeg", "image/png", "image/webp")
FORMATS = ("jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heif")


def _files() -> dict[tuple[str, str], bytes]:
    """Return a file for each format and kind of metadata."""
    pillow_heif.register_heif_opener(thumbnails=False)
    colour, grey = waves(6, 9), waves(6, 9, 1)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg, png, webp = (saved(colour, kind) for kind in ("JPEG", "PNG", "WEBP"))
    return {
        ("JPEG", "RGB profile"): with_segments(jpeg, *profile_segments(srgb)),
        ("JPEG", "grey profile"): saved(grey, "JPEG", icc_profile=grey_profile()),
        ("JPEG", "EXIF"): with_segments(jpeg, segment(0xE1, b"Exif\0\0" + exif())),
        ("JPEG", "XMP"): with_segments(jpeg, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        ("JPEG", "IPTC"): with_segments(jpeg, segment(0xED, b"Photoshop 3.0\0" + photoshop((0x0404, IPTC)))),
        ("JPEG", "resolution"): saved(colour, "JPEG", dpi=(300, 300)),
        ("JPEG", "comment"): with_segments(jpeg, segment(0xFE, b"comment")),
        ("JPEG", "other segments"): with_segments(jpeg, segment(0xEB, b"unknown")),
        ("JPEG", "data behind the image"): jpeg + b"video",
        ("PNG", "RGB profile"): saved(colour, "PNG", icc_profile=srgb),
        ("PNG", "grey profile"): saved(grey, "PNG", icc_profile=grey_profile()),
        ("PNG", "gAMA, cHRM, cICP"): with_chunks(png, chunk(b"gAMA", struct.pack(">I", 100_000))),
        ("PNG", "EXIF"): with_chunks(png, chunk(b"eXIf", exif())),
        ("PNG", "XMP"): with_chunks(png, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        ("PNG", "resolution"): saved(colour, "PNG", dpi=(300, 300)),
        ("PNG", "text and time"): with_chunks(png, chunk(b"tEXt", b"Author\0M\xfcller")),
        ("PNG", "other chunks"): with_chunks(png, chunk(b"teSt", b"unknown")),
        ("PNG", "data behind the image"): png + b"archive",
        ("WebP", "RGB profile"): saved(colour, "WEBP", icc_profile=srgb),
        ("WebP", "EXIF"): with_riff_chunks(webp, 0x08, riff_chunk(b"EXIF", exif())),
        ("WebP", "XMP"): with_riff_chunks(webp, 0x04, riff_chunk(b"XMP ", XMP)),
        ("WebP", "other chunks"): with_riff_chunks(webp, 0, riff_chunk(b"teSt", b"unknown")),
        ("TIFF", "RGB profile"): saved(colour, "TIFF", icc_profile=srgb),
        ("TIFF", "grey profile"): saved(grey, "TIFF", icc_profile=grey_profile()),
        ("TIFF", "EXIF"): saved(colour, "TIFF", tiffinfo={0x013B: "Artist"}),
        ("TIFF", "XMP"): saved(colour, "TIFF", tiffinfo={700: XMP}),
        ("TIFF", "IPTC"): saved(colour, "TIFF", tiffinfo={33723: IPTC}),
        ("TIFF", "resolution"): saved(colour, "TIFF", dpi=(300, 300)),
        ("BMP", "resolution"): saved(colour, "BMP", dpi=(300, 300)),
        ("BMP", "profile or calibration"): calibrated_bmp(colour),
        ("GIF", "comment"): saved(grey, "GIF", comment=b"comment"),
        ("GIF", "XMP"): gif_with_xmp(saved(grey, "GIF")),
        ("AVIF", "RGB profile"): saved(colour, "AVIF", icc_profile=srgb),
        ("AVIF", "EXIF"): saved(colour, "AVIF", exif=b"Exif\0\0" + exif()),
        ("AVIF", "XMP"): saved(colour, "AVIF", xmp=XMP),
        ("HEIC", "RGB profile"): saved(colour, "HEIF", icc_profile=srgb),
        ("HEIC", "EXIF"): saved(colour, "HEIF", exif=b"Exif\0\0" + exif()),
        ("HEIC", "XMP"): saved(colour, "HEIF", xmp=XMP),
        **{
            (name, "further frames or pages"): saved(
                colour, name.upper(), save_all=True, append_images=[Image.fromarray(255 - colour)]
            )
            for name in ("PNG", "WebP", "GIF", "TIFF")
        },
    }


def metadata() -> str:
    """Return the table of the metadata that answers keep."""
    rows = [
        [source, kind, *(_outcome(data, media_type) for media_type in ANSWERS)]
        for (source, kind), data in _files().items()
    ]
    return table(["image sent", "metadata", "JPEG answer", "PNG answer", "WebP answer"], rows)


def _outcome(data: bytes, media_type: str) -> str:
    picture = codec.decode(data, formats=FORMATS, max_pixels=1 << 20)
    answer = postprocess(picture.pixels, picture, keep_metadata=True)
    dropped = codec.dropped_metadata(answer, media_type)
    if dropped:
        names = f"`{'`, `'.join(dropped)}`"
        is_converted = picture.icc or picture.metadata.colour
        return f"converted to sRGB: {names}" if is_converted and media_type != "image/png" else f"dropped: {names}"
    again = codec.decode(codec.encode(answer, media_type), formats=FORMATS, max_pixels=1 << 20)
    if again.metadata.is_empty() and not again.icc:
        raise ValueError(f"{media_type} loses metadata without naming them")
    return "kept"
