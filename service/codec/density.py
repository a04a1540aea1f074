"""The resolution at which an image is printed, as JPEG and PNG files state it."""

from dataclasses import dataclass
from struct import Struct
from typing import Literal

METRES_PER_INCH = 0.0254
JFIF = Struct(">BHH")
PHYS = Struct(">IIB")
# Pixels per unit of length; without a unit, the two numbers only give the aspect ratio of a pixel.
Unit = Literal["none", "inch", "centimetre", "metre"]
JFIF_UNITS: tuple[Unit, ...] = ("none", "inch", "centimetre")
METRES: dict[Unit, float] = {"inch": METRES_PER_INCH, "centimetre": 0.01, "metre": 1.0}


@dataclass(frozen=True, slots=True)
class Density:
    """Pixels per unit of length, horizontally and vertically."""

    x: float
    y: float
    unit: Unit

    @classmethod
    def from_jfif(cls, body: bytes) -> "Density | None":
        """Read the 5 bytes of a JFIF header; None if they state nothing."""
        unit, x, y = JFIF.unpack(body)
        if unit >= len(JFIF_UNITS) or not x * y or (unit == 0 and x == y):
            return None
        return cls(x, y, JFIF_UNITS[unit])

    @classmethod
    def from_phys(cls, body: bytes) -> "Density | None":
        """Read the body of a `pHYs` chunk; None if it states nothing or is invalid."""
        if len(body) != PHYS.size:
            return None
        x, y, unit = PHYS.unpack(body)
        if unit > 1 or not x * y or max(x, y) >= 1 << 31:
            return None
        return cls(x, y, "metre" if unit else "none")

    def transposed(self) -> "Density":
        """Return the density after width and height are swapped."""
        return Density(self.y, self.x, self.unit)

    def per(self, unit: Unit) -> tuple[float, float]:
        """Return the pixels per `unit`, horizontally and vertically; the density must have a unit."""
        factor = METRES[unit] / METRES[self.unit]
        return self.x * factor, self.y * factor

    def jfif(self) -> bytes:
        """Return the 5 bytes of a JFIF header, or no bytes if they cannot hold the numbers."""
        unit: Unit = "inch" if self.unit == "metre" else self.unit
        x, y = (self.x, self.y) if unit == "none" else self.per(unit)
        numbers = round(x), round(y)
        if not all(1 <= number < 1 << 16 for number in numbers):
            return b""
        return JFIF.pack(JFIF_UNITS.index(unit), *numbers)

    def phys(self) -> bytes:
        """Return the body of a `pHYs` chunk."""
        x, y = (self.x, self.y) if self.unit == "none" else self.per("metre")
        return PHYS.pack(*(min(max(round(number), 1), (1 << 31) - 1) for number in (x, y)), self.unit != "none")
