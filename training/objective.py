"""What training makes small: a reconstruction loss, and penalties on the code with their weights.

A new loss or penalty is one function and one line in its table. All are means, so that weights do not depend on sizes.
"""

from collections.abc import Callable

from pydantic import Field, NonNegativeFloat, field_validator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.nets import Autoencoder, Pass
from training.section import Section, near


def mse(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:
    """Mean squared error per value, of what `net.finish` makes of the raw output."""
    return F.mse_loss(net.finish(output), clean)


def bce(output: Tensor, clean: Tensor, net: Autoencoder) -> Tensor:  # noqa: ARG001 - one signature for all losses
    """Mean binary cross-entropy per value in nats, on logits: no gradient is lost in a saturated sigmoid."""
    return F.binary_cross_entropy_with_logits(output, clean)


def activity(code: Tensor) -> Tensor:
    """L1: the mean absolute value of a number in the code."""
    return code.abs().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Autoencoder], Tensor]] = {"mse": mse, "bce": bce}
PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {"activity": activity}


class Objective(Section):
    """The `[objective]` table: loss + the sum of weight * penalty."""

    loss: str
    """`mse` or `bce`; `bce` wants a net with sigmoid output and data in 0..1."""
    penalties: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights by name; `activity` is L1 on the code."""

    @field_validator("loss")
    @classmethod
    def _loss_exists(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"no loss {loss!r}: {near(loss, list(LOSSES))}")
        return loss

    @field_validator("penalties")
    @classmethod
    def _penalties_exist(cls, penalties: dict[str, float]) -> dict[str, float]:
        for name in penalties:
            if name not in PENALTIES:
                raise ValueError(f"no penalty {name!r}: {near(name, list(PENALTIES))}")
        return penalties

    def parts(self, made: Pass, clean: Tensor, net: Autoencoder) -> dict[str, Tensor]:
        """`loss`, the number to make small, first; then what it consists of, unweighted, by name."""
        parts = {self.loss: LOSSES[self.loss](made.output, clean, net)}
        total = parts[self.loss]
        for name, weight in self.penalties.items():
            parts[name] = PENALTIES[name](made.code)
            total = total + weight * parts[name]
        return {"loss": total, **parts}
