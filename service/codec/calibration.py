"""Builds ICC profiles from the calibration that PNG chunks and BMP headers state.

The chunks are published as PNG (Third Edition), W3C 2025, the code points of `cICP` as ITU-T H.273, the profiles as
ICC.1:2022, and the chromatic adaptation as its annex E (Bradford).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct, error, pack, unpack_from

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]  # chromaticity x, y
Curve = tuple[float, ...]  # gamma; or g, a, b, c, d: (a*v + b)**g, and c*v below d

D65: Point = (0.3127, 0.329)
D50 = (0.9642, 1.0, 0.8249)  # X, Y, Z
BT709: tuple[Point, ...] = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
BT2020: tuple[Point, ...] = ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046))
P3: tuple[Point, ...] = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
CICP_PRIMARIES = {1: BT709, 9: BT2020, 12: P3}
VIDEO_CURVE: Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CICP_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), VIDEO_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
}
BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))
GAMMAS = (0.2, 6.0)  # range of plausible ones
PNG_UNIT = 100_000

BMP_CALIBRATED_BYTES = 108  # of the smallest header with a calibration
BMP_PROFILE_BYTES = 124  # of the smallest header with a profile
BMP_CALIBRATED, BMP_EMBEDDED = 0, 0x4D424544
BMP_GAMMA_UNIT = 1 << 16
SRGB_TOLERANCE = 0.005
SRGB_GAMMAS = (2.1, 2.3)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Chromaticities of white, red, green and blue, and the tone curve of each channel."""

    white: Point
    primaries: Sequence[Point]
    curves: Sequence[Curve]

    def profile(self) -> bytes | None:
        """Return an ICC profile, or None for impossible chromaticities."""
        columns = _to_d50(self.white, self.primaries)
        if columns is None:
            return None
        name = b"mluc" + pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 20, 28) + "Calibrated".encode("utf-16-be")
        tags = {b"desc": name, b"cprt": name, b"wtpt": _xyz(D50)}
        for channel, column, curve in zip((b"r", b"g", b"b"), columns.T, self.curves, strict=True):
            tags[channel + b"XYZ"] = _xyz(column)
            kind = 0 if len(curve) == 1 else 3
            tags[channel + b"TRC"] = b"para" + pack(">IHH", 0, kind, 0) + _fixed(curve)
        return _pack(tags)


def of_png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the profile that the chunks `gAMA`, `cHRM` and `cICP` of a PNG file describe.

    Return None if they state sRGB or nothing, or HDR, whose range does not fit 8 bits.
    """
    bodies = dict(chunks)
    if code := bodies.get(b"cICP"):
        primaries, curve = CICP_PRIMARIES.get(code[0]), CICP_CURVES.get(code[1])
        if primaries is None or curve is None or code[2] or not code[3]:
            return None
        return Calibration(D65, primaries, (curve,) * 3).profile()
    if b"sRGB" in bodies or not bodies:
        return None
    gamma = PNG_UNIT / unpack_from(">I", bodies[b"gAMA"])[0] if any(bodies.get(b"gAMA", b"")) else 0.0
    curve = (gamma,) if gamma else CICP_CURVES[13]
    if gamma and not GAMMAS[0] <= gamma <= GAMMAS[1]:
        return None
    white, primaries = D65, BT709
    if b"cHRM" in bodies:
        values = [number / PNG_UNIT for number in unpack_from(">8I", bodies[b"cHRM"])]
        white, *primaries = zip(values[::2], values[1::2], strict=True)
    return Calibration(white, primaries, (curve,) * 3).profile()


def of_bmp(data: bytes) -> bytes | None:
    """Return the profile that a BMP file embeds, or that its calibration describes; None for sRGB and without both.

    The white point is D65. Many writers store chromaticities in place of XYZ, or the exponent of the encoding in place
    of its inverse; both are understood.
    """
    try:
        size, space = unpack_from("<I", data, 14)[0], unpack_from("<I", data, 70)[0]
        if size >= BMP_PROFILE_BYTES and space == BMP_EMBEDDED:
            offset, length = unpack_from("<II", data, 126)
            return data[14 + offset : 14 + offset + length] or None
        if size < BMP_CALIBRATED_BYTES or space != BMP_CALIBRATED:
            return None
        numbers = Struct("<9i3I").unpack_from(data, 74)
    except error:
        return None
    points = [numbers[at : at + 3] for at in (0, 3, 6)]
    gammas = [number / BMP_GAMMA_UNIT for number in numbers[9:]]
    if not all(min(point) >= 0 and sum(point) for point in points) or not all(gammas):
        return None
    primaries = [(point[0] / sum(point), point[1] / sum(point)) for point in points]
    gammas = [1 / gamma if gamma < 1 else gamma for gamma in gammas]
    is_srgb = all(SRGB_GAMMAS[0] <= gamma <= SRGB_GAMMAS[1] for gamma in gammas)
    is_srgb = is_srgb and bool(np.abs(np.array(primaries) - np.array(BT709)).max() < SRGB_TOLERANCE)
    if is_srgb or not all(GAMMAS[0] <= gamma <= GAMMAS[1] for gamma in gammas):
        return None
    return Calibration(D65, primaries, [(gamma,) for gamma in gammas]).profile()


def _to_d50(white: Point, primaries: Sequence[Point]) -> NDArray[np.float64] | None:
    """Return X, Y, Z of full red, green and blue (the columns) under D50, or None for impossible chromaticities."""
    points = np.array([white, *primaries], float)
    if (points[:, 1] <= 0).any() or (points < 0).any() or (points.sum(1) > 1).any():
        return None
    full = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    cones = BRADFORD @ full[:, 0]
    if (cones <= 0).any() or abs(np.linalg.det(full[:, 1:])) < 1e-6:
        return None
    adaptation = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ np.array(D50) / cones) @ BRADFORD
    columns: NDArray[np.float64] = adaptation @ (full[:, 1:] * np.linalg.solve(full[:, 1:], full[:, 0]))
    return columns if np.abs(columns).max() < 2 else None


def _fixed(values: Sequence[float]) -> bytes:
    return b"".join(pack(">i", round(value * 65536)) for value in values)


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _pack(tags: dict[bytes, bytes]) -> bytes:
    """Return a display profile of version 4.2."""
    offset = 132 + 12 * len(tags)
    table, bodies = pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += pack(">4sII", name, offset + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    head = pack(">I4sI4s4s4s", offset + len(bodies), b"lcms", 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + table + bodies
