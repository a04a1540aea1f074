"""Undercomplete codes of digits: three networks with 32 numbers, compared with 32 principal components."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.data import Dataset, Items
from training.evaluation.metrics import error_metrics, run_in_batches, to_uint8
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results, Row, Study
from training.studies.measures.arrays import flatten64, torch_operation
from training.workspace import Workspace

CODE, NUM_PICTURES, FASHION_EPOCHS = 32, 12, 60
TARGETS: dict[str, tuple[float, float | None]] = {
    "digits": (0.0910, 0.0900),
    "digits-deep": (0.086, None),
    "digits-wide": (0.076, None),
}
SHAPES = {"digits": "784-32-784", "digits-deep": "784-128-64-32", "digits-wide": "784-512-256-32"}
SOURCES = {"digits": "Keras blog, one layer: 0.09 to 0.11", "digits-deep": "Keras blog, deep: 0.097"}


def measure(workspace: Workspace) -> Results:
    """Measure the errors of networks and PCA on training and test pictures; the first network on Fashion-MNIST too."""
    nets: Results = {}
    for name in TARGETS:
        model = workspace.model(name)
        outputs = {part: run_in_batches(model.graphs["reconstruct"], items) for part, items in _splits(model.data)}
        nets[name] = {
            **{part: error_metrics(outputs[part], items)["mse"] for part, items in _splits(model.data)},
            "bce": model.card.quality.figures["reconstruct_bce"],
            "parameters": model.card.parameters,
            "seconds": model.card.made.seconds,
            "seed": model.card.made.seed,
            "pictures": pack(outputs["test"][:NUM_PICTURES]),
        }
    data = workspace.data("digits")
    pca = _fit_pca(data.train)
    projections = {part: _pca_round_trip(pca, items) for part, items in _splits(data)}
    return {
        "nets": nets,
        "pca": {part: error_metrics(to_uint8(projections[part]), items)["mse"] for part, items in _splits(data)},
        "pca_uncut": float(np.square(projections["test"] - flatten64(data.test).reshape(data.test.shape)).mean()),
        "pca_pictures": pack(to_uint8(projections["test"][:NUM_PICTURES])),
        "originals": pack(data.test[:NUM_PICTURES]),
        "entropy": pixel_entropy(data.test),
        "fashion": _fashion(workspace),
    }


def _fashion(workspace: Workspace) -> Results:
    """Train the recipe `digits` on Fashion-MNIST with fewer epochs; return its error and that of PCA."""
    changes = ("data.source=fashion-mnist", f"optimizer.epochs={FASHION_EPOCHS}")
    trained = workspace.fit("digits", *changes, variant="fashion")
    test = trained.data.test
    outputs = run_in_batches(torch_operation(trained.result.net, "reconstruct"), test)
    return {
        "net": error_metrics(outputs, test)["mse"],
        "pca": error_metrics(to_uint8(_pca_round_trip(_fit_pca(trained.data.train), test)), test)["mse"],
        "seconds": trained.result.seconds,
    }


def rows(results: Results) -> Sequence[Row]:
    """Return the cross-entropies and squared errors, with their targets."""
    table: list[Row] = []
    for name, (target, stretch) in TARGETS.items():
        net = results["nets"][name]
        facts = f"{SHAPES[name]}, {net['parameters']:,} weights, {net['seconds']:.0f} s, seed {net['seed']}"
        table.append(
            Row(
                f"{name} ({facts}): test BCE, nats per pixel",
                net["bce"],
                f"perfect pictures: {results['entropy']:.4f}; {SOURCES.get(name, 'digits-deep: 5x fewer weights')}",
                "keras-blog" if name in SOURCES else "measured here",
                target,
                stretch,
            )
        )
        table.append(Row(f"{name}: test MSE, as served", net["test"], _pca_text(results), "scikit-learn"))
    fashion = results["fashion"]
    label = f"recipe digits on Fashion-MNIST ({FASHION_EPOCHS} epochs, {fashion['seconds']:.0f} s): test MSE"
    table.append(Row(label, fashion["net"], f"PCA-32 of Fashion-MNIST: {fashion['pca']:.5f}", "scikit-learn"))
    return table


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot reconstructed test digits, and the errors on training and test digits."""
    pictures = new_figure("Test digits reconstructed from codes of 32 numbers", width=8, height=3.6)
    reconstructions = [unpack(results["nets"][name]["pictures"]) for name in TARGETS]
    show_rows(
        pictures.subplots(),
        [unpack(results["originals"]), unpack(results["pca_pictures"]), *reconstructions],
        ["original", "PCA-32", *TARGETS],
    )
    bars = new_figure("Codes of 32 numbers: errors on training and test digits", width=7, height=4)
    axes = add_grid(bars.subplots())
    names = ["PCA-32", *TARGETS]
    errors = [results["pca"], *(results["nets"][name] for name in TARGETS)]
    colours = [COLOURS["pca"], *[COLOURS["ours"]] * len(TARGETS)]
    places = np.arange(len(names))
    for offset, part, strength in ((-0.2, "train", 0.45), (0.2, "test", 1.0)):
        heights = [1000 * error[part] for error in errors]
        container = axes.bar(places + offset, heights, 0.38, color=colours, alpha=strength)
        axes.bar_label(container, [f"{part}\n{height:.2f}" for height in heights], fontsize=8)
    axes.set_xticks(places, names)
    axes.set(xlabel="model", ylabel="mean squared error per pixel, thousandths", ylim=(0, 1200 * errors[0]["test"]))
    return {"pictures": pictures, "errors": bars}


def summary(results: Results) -> str:
    """Return the answer as text."""
    nets, pca = results["nets"], results["pca"]
    gain = {name: 10 * np.log10(pca["test"] / net["test"]) for name, net in nets.items()}
    wide, fashion = nets["digits-wide"], results["fashion"]
    return (
        f"More detail. With 32 numbers, PCA has an error of {pca['test']:.5f} on test digits (rounded to 8 bits; "
        f"{results['pca_uncut']:.5f} before clipping to 0..1). A network with one layer in encoder and decoder and a "
        f"sigmoid output has {nets['digits']['test']:.5f} ({gain['digits']:.1f} dB less), one with three layers "
        f"{nets['digits-deep']['test']:.5f} ({gain['digits-deep']:.1f} dB), and one with 1.1 million weights "
        f"{wide['test']:.5f} ({gain['digits-wide']:.1f} dB). The digits lie near a curved surface, which a linear "
        "subspace of 32 dimensions cannot follow.\n\n"
        "More weights also overfit more: the error on test digits is "
        f"{nets['digits']['test'] / nets['digits']['train']:.2f} times the error on training digits for the smallest "
        f"network, and {wide['test'] / wide['train']:.2f} times for the widest, which begins to memorise its training "
        f"digits. The cross-entropy of perfect pictures is {results['entropy']:.4f}, since their pixels are grey; only "
        "the difference from that is an error. The network with one layer has a cross-entropy of "
        f"{nets['digits']['bce']:.4f}, {_gap_text(nets['digits']['bce'], 0.09)}: depth helps more than time. "
        "Times were measured on two cores shared with other training runs.\n\n"
        "With one key changed, `data.source`, the same recipe trains on pictures of clothes: the error is "
        f"{fashion['net']:.5f} after {FASHION_EPOCHS} epochs, and that of PCA-32 on these pictures "
        f"{fashion['pca']:.5f}."
    )


def _splits(data: Dataset) -> tuple[tuple[str, Items], tuple[str, Items]]:
    return ("train", data.train), ("test", data.test)


def _gap_text(value: float, stretch: float) -> str:
    if value <= stretch:
        return f"within the stretch goal of {stretch:.4f}"
    return f"{value - stretch:.4f} above the stretch goal of {stretch:.4f}"


def _pca_text(results: Results) -> str:
    return f"PCA-{CODE}: {results['pca']['test']:.5f}"


def _fit_pca(train: Items) -> PCA:
    return PCA(CODE, svd_solver="covariance_eigh").fit(flatten64(train))


def _pca_round_trip(pca: PCA, items: Items) -> NDArray[np.float64]:
    """Return the projections of pictures on the principal components, float64 in the shape of `items`."""
    return np.asarray(pca.inverse_transform(pca.transform(flatten64(items)))).reshape(items.shape)


def pixel_entropy(items: Items) -> float:
    """Return the cross-entropy of perfect reconstructions of pictures uint8 (N, H, W, C), in nats per pixel.

    It is the mean of -p log p - (1 - p) log(1 - p) with p = pixel / 255.
    """
    grey = np.arange(256) / 255
    inside = np.clip(grey, 1e-12, 1 - 1e-12)
    nats = -(grey * np.log(inside) + (1 - grey) * np.log1p(-inside))
    return float((np.bincount(items.ravel(), minlength=256) * nats).sum() / items.size)


STUDY = Study(
    name="undercomplete",
    title="Undercomplete codes: beyond PCA",
    question="With a code smaller than the input, what does a nonlinear autoencoder preserve that PCA cannot?",
    command="hourglass-train fit digits-deep",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
