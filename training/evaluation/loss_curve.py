"""Plots the loss of a run over its epochs."""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure


def plot_loss(records: list[dict[str, Any]], title: str) -> bytes:
    """Return a PNG of the training loss and the validation loss, if any, from the records of a run's log.

    The axis is logarithmic if all losses are positive.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    epochs = [record["epoch"] for record in records]
    axes.plot(epochs, [record["train"]["loss"] for record in records], label="training")
    if any(record["validation"] for record in records):
        axes.plot(epochs, [record["validation"]["loss"] for record in records], label="validation")
    positive = all(record["train"]["loss"] > 0 for record in records)  # log_mse is negative
    axes.set(title=title, xlabel="epoch", ylabel="loss", yscale="log" if positive else "linear")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.3)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()
