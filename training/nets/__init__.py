"""NETS: every family on one screen. A new family is one file beside this one and one line here."""

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
else:  # the union of what NETS holds, which no type checker can see
    Net = Annotated[reduce(or_, NETS.values()), Discriminator("family")]

__all__ = ["NETS", "Autoencoder", "ForwardResult", "Net", "NetSection", "Operation", "Shape"]
