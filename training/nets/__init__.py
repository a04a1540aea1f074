"""Families of autoencoders. NETS maps `net.family` of a recipe to the family's section.

To add a family, add a module to this package and an entry to NETS.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Discriminator

from training.nets.base import Autoencoder, ForwardResult, NetSection, Operation, Shape
from training.nets.compressive import CompressiveSection
from training.nets.conv import ConvSection
from training.nets.dense import DenseSection
from training.nets.variational import VariationalSection
from training.nets.winner_take_all import WinnerTakeAllSection

NETS: dict[str, type[NetSection]] = {
    "compressive": CompressiveSection,
    "conv": ConvSection,
    "dense": DenseSection,
    "variational": VariationalSection,
    "winner-take-all": WinnerTakeAllSection,
}

if TYPE_CHECKING:
    Net = NetSection
else:  # the union of the values of NETS, which type checkers cannot compute
    Net = Annotated[reduce(or_, NETS.values()), Discriminator("family")]

__all__ = ["NETS", "Autoencoder", "ForwardResult", "Net", "NetSection", "Operation", "Shape"]
