"""Adapts an XMP packet to the upright image that it is written with. All other bytes stay as they are."""

import re

JPEG_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"

TIFF_NAMESPACE = b"http://ns.adobe.com/tiff/1.0/"
EXIF_NAMESPACE = b"http://ns.adobe.com/exif/1.0/"
THUMBNAILS = (b"<xmp:Thumbnails", b"</xmp:Thumbnails>")
# The value of a property, as an attribute or as an element. The name is filled in.
VALUE = rb"((?:\b%s\s*=\s*[\"']|<%s(?:\s[^<>]{0,200})?>)\s*)(\d{1,9})"


def is_valid(packet: bytes) -> bool:
    """Return whether the packet is RDF in UTF-8."""
    try:
        return "RDF" in packet.decode() and b"\0" not in packet
    except UnicodeDecodeError:
        return False


def upright(packet: bytes, size: tuple[int, int]) -> bytes:
    """Set the orientation to 1 and the dimensions to `size` (width and height), and remove the thumbnails."""
    width, height = (b"%d" % length for length in size)
    tiff, exif = _prefix(packet, TIFF_NAMESPACE, b"tiff"), _prefix(packet, EXIF_NAMESPACE, b"exif")
    values = {
        tiff + b":Orientation": b"1",
        tiff + b":ImageWidth": width,
        tiff + b":ImageLength": height,
        exif + b":PixelXDimension": width,
        exif + b":PixelYDimension": height,
    }
    for name, value in values.items():
        if name in packet:
            packet = re.sub(
                VALUE % (re.escape(name), re.escape(name)), lambda match, value=value: match[1] + value, packet
            )
    start, stop = packet.find(THUMBNAILS[0]), packet.rfind(THUMBNAILS[1])
    if 0 <= start < stop:
        packet = packet[:start] + packet[stop + len(THUMBNAILS[1]) :]
    return packet


def _prefix(packet: bytes, namespace: bytes, default: bytes) -> bytes:
    """Return the prefix that the packet declares for the namespace."""
    match = re.search(rb"xmlns:([A-Za-z_][\w.-]{0,50})\s*=\s*[\"']" + re.escape(namespace), packet)
    return match[1] if match else default
