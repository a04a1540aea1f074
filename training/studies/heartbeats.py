"""Detection of abnormal heartbeats by the reconstruction error, beside the network of TensorFlow's tutorial."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from training.data.dataset import locate
from training.data.ucr import UcrSection, read_ucr
from training.evaluation.metrics import mse_per_item, run_in_batches
from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.study import Results, Row, Study
from training.studies.measures.arrays import torch_operation
from training.workspace import Workspace

PUBLISHED_ACCURACY = 0.943
"""Accuracy that the tutorial states, on a random split of the same data with more training series."""
TUTORIAL_STEPS = {"short": 100, "long": 3000}
"""Training steps of the tutorial's network: as many as the tutorial's own run has, and thirty times as many."""
Floats = NDArray[np.float32]


def measure(workspace: Workspace) -> Results:
    """Train on normal heartbeats; return the scores of both networks on the test split of ECG5000."""
    trained = workspace.fit("ecg-anomaly")
    section = trained.recipe.data
    if not isinstance(section, UcrSection):
        raise TypeError("the recipe ecg-anomaly must read the UCR archive")
    series, labels = read_ucr(_folder(workspace, section), "TEST")
    abnormal = labels != section.normal
    run = torch_operation(trained.net, "reconstruct")
    held_out, tested = (mse_per_item(run_in_batches(run, items), items) for items in (trained.data.test, series))
    threshold = float(np.quantile(held_out, 1 - (trained.recipe.model.false_alarms or 0.02)))
    normals = np.concatenate([trained.data.train, trained.data.test]).astype(np.float32)
    tutorials = {name: _tutorial(normals, series, steps) for name, steps in TUTORIAL_STEPS.items()}
    return {
        "ours": {**_scores(tested, abnormal, threshold), "seconds": trained.result.seconds},
        **{f"tutorial, {name}": _scores(one[0], abnormal, one[1]) for name, one in tutorials.items()},
        "items": len(series),
        "normals": len(normals),
    }


def _folder(workspace: Workspace, section: UcrSection) -> Path:
    return locate(workspace.folder, section.path)


def _tutorial(normals: Floats, series: Floats, steps: int) -> tuple[NDArray[np.float64], float]:
    """Train the tutorial's network on normal series; return the errors of `series` and the threshold.

    As there: dense layers of 32, 16, 8, 16, 32 and 140 units, values scaled to 0..1 by the training data, mean absolute
    error, Adam with a learning rate of 0.001, and the mean plus one standard deviation of the training errors.
    """
    torch.manual_seed(0)
    sizes = (normals.shape[1], 32, 16, 8, 16, 32)
    layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(32, normals.shape[1]), nn.Sigmoid())
    low, high = float(normals.min()), float(normals.max())
    train, test = (torch.from_numpy((items - low) / (high - low)) for items in (normals, series))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        F.l1_loss(net(train), train).backward()
        optimizer.step()
    with torch.no_grad():
        errors, train_errors = ((net(items) - items).abs().mean(1).double().numpy() for items in (test, train))
    return errors, float(train_errors.mean() + train_errors.std())


def _scores(errors: NDArray[np.float64], abnormal: NDArray[np.bool_], threshold: float) -> Results:
    """Return AUROC, and at the threshold the accuracy, the false alarms and the share of abnormal series found."""
    unusual = errors > threshold
    false, true, _ = roc_curve(abnormal, errors)
    chosen = np.unique(np.linspace(0, len(false) - 1, 200).round().astype(int))
    return {
        "auroc": float(roc_auc_score(abnormal, errors)),
        "accuracy": float(np.mean(unusual == abnormal)),
        "false_alarms": float(unusual[~abnormal].mean()),
        "found": float(unusual[abnormal].mean()),
        "curve": [[round(float(false[place]), 4), round(float(true[place]), 4)] for place in chosen],
    }


def rows(results: Results) -> Sequence[Row]:
    """Return AUROC and accuracy beside the tutorial's network on the same split."""
    ours, tutorial = results["ours"], results["tutorial, long"]
    return (
        Row("AUROC", ours["auroc"], f"tutorial's network: {tutorial['auroc']:.4f}", target=0.98, higher_is_better=True),
        Row(
            "accuracy at the threshold",
            ours["accuracy"],
            f"tutorial's network: {tutorial['accuracy']:.4f}; published: {PUBLISHED_ACCURACY}",
            target=0.96,
            higher_is_better=True,
        ),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the ROC curves, with a dot at each threshold."""
    figure = new_figure("Abnormal heartbeats: ROC curves, and the thresholds", width=6, height=4.5)
    axes = add_grid(figure.add_subplot())
    for name, colour in {"ours": COLOURS["ours"], "tutorial, long": COLOURS["other"]}.items():
        scores = results[name]
        axes.plot(*np.transpose(scores["curve"]), color=colour, label=f"{name}: {scores['auroc']:.4f}")
        axes.plot(scores["false_alarms"], scores["found"], "o", color=colour)
    axes.set(xlabel="false alarms", ylabel="abnormal heartbeats found", xlim=(0, 0.2), ylim=(0.6, 1.01))
    axes.legend()
    return {"roc": figure}


def summary(results: Results) -> str:
    """Return the answer as text."""
    ours, short, long = (results[name] for name in ("ours", "tutorial, short", "tutorial, long"))
    return (
        f"On the {results['items']:,} heartbeats of the test split of ECG5000, the error of `ecg-anomaly` has an "
        f"AUROC of {ours['auroc']:.4f}. At its threshold, from held-out normal heartbeats alone, "
        f"{ours['accuracy']:.1%} are classified correctly, with {ours['false_alarms']:.1%} false alarms. Training took "
        f"{ours['seconds']:.0f} s.\n\n"
        f"The network of TensorFlow's tutorial, trained here on the same {results['normals']} normal heartbeats (the "
        f"tutorial has some 2,400), has an AUROC of {short['auroc']:.4f} and an accuracy of {short['accuracy']:.1%} "
        f"after {TUTORIAL_STEPS['short']} steps, and {long['auroc']:.4f} and {long['accuracy']:.1%} after "
        f"{TUTORIAL_STEPS['long']:,}. The tutorial states {PUBLISHED_ACCURACY:.1%}, on another split. Its threshold, "
        f"one standard deviation above the mean training error, raises {long['false_alarms']:.1%} false alarms."
    )


STUDY = Study(
    name="heartbeats",
    title="Abnormal heartbeats",
    question="Trained on normal heartbeats only, does the reconstruction error detect abnormal ones?",
    command="hourglass-train fit ecg-anomaly",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
