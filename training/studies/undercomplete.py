"""Undercomplete codes of digits: three nets of 32 numbers against principal component analysis with as many."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from training.data import Dataset, Items
from training.evaluation.figures import error_figures, run_in_batches, to_uint8
from training.export.onnx_graph import ExportModule
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, add_grid, new_figure, show_rows
from training.studies.base.study import Results, Row, Study
from training.workspace import Workspace

CODE, NUM_PICTURES, FASHION_EPOCHS = 32, 12, 60
TARGETS: dict[str, tuple[float, float | None]] = {
    "digits": (0.0910, 0.0900),
    "digits-deep": (0.086, None),
    "digits-wide": (0.076, None),
}
SHAPES = {"digits": "784-32-784", "digits-deep": "784-128-64-32", "digits-wide": "784-512-256-32"}
SOURCES = {"digits": "the Keras blog's simple one: 0.09 to 0.11", "digits-deep": "the Keras blog's deep one: 0.097"}


def measure(workspace: Workspace) -> Results:
    """Errors on training and test pictures as served, of the nets and of PCA; the first net on Fashion-MNIST too."""
    nets: Results = {}
    for name in TARGETS:
        model = workspace.model(name)
        made = {part: run_in_batches(model.graphs["reconstruct"], items) for part, items in _splits(model.data)}
        nets[name] = {
            **{part: error_figures(made[part], items)["mse"] for part, items in _splits(model.data)},
            "bce": model.card.quality.figures["reconstruct_bce"],
            "parameters": model.card.parameters,
            "seconds": model.card.made.seconds,
            "seed": model.card.made.seed,
            "pictures": pack(made["test"][:NUM_PICTURES]),
        }
    data = workspace.data("digits")
    pca = _fit_pca(data.train)
    cut = {part: _pca_round_trip(pca, items) for part, items in _splits(data)}
    return {
        "nets": nets,
        "pca": {part: error_figures(to_uint8(cut[part]), items)["mse"] for part, items in _splits(data)},
        "pca_uncut": float(np.square(cut["test"] - _to_unit_range(data.test)).mean()),
        "pca_pictures": pack(to_uint8(cut["test"][:NUM_PICTURES])),
        "originals": pack(data.test[:NUM_PICTURES]),
        "entropy": pixel_entropy(data.test),
        "fashion": _fashion(workspace),
    }


def _fashion(workspace: Workspace) -> Results:
    """The recipe of digits with one word changed, and fewer epochs."""
    changes = ("data.source=fashion-mnist", f"optimizer.epochs={FASHION_EPOCHS}")
    trained = workspace.fit("digits", *changes, variant="fashion")
    test, served = trained.data.test, ExportModule(trained.result.net, "reconstruct")
    with torch.no_grad():
        made = run_in_batches(lambda items: served(torch.from_numpy(items.copy())).numpy(), test)
    return {
        "net": error_figures(made, test)["mse"],
        "pca": error_figures(to_uint8(_pca_round_trip(_fit_pca(trained.data.train), test)), test)["mse"],
        "seconds": trained.result.seconds,
    }


def rows(results: Results) -> Sequence[Row]:
    found: list[Row] = []
    for name, (bar, stretch) in TARGETS.items():
        net = results["nets"][name]
        facts = f"{SHAPES[name]}, {net['parameters']:,} weights, {net['seconds']:.0f} s, seed {net['seed']}"
        found.append(
            Row(
                f"{name} ({facts}): test BCE, nats a pixel",
                net["bce"],
                f"perfect pictures: {results['entropy']:.4f}; {SOURCES.get(name, 'digits-deep: 5x fewer weights')}",
                "keras-blog" if name in SOURCES else "measured here",
                bar,
                stretch,
            )
        )
        found.append(Row(f"{name}: test MSE, as served", net["test"], _pca_text(results), "scikit-learn"))
    fashion = results["fashion"]
    what = (
        f"digits on Fashion-MNIST by one changed word ({FASHION_EPOCHS} epochs, {fashion['seconds']:.0f} s): test MSE"
    )
    found.append(Row(what, fashion["net"], f"PCA-32 of Fashion-MNIST: {fashion['pca']:.5f}", "scikit-learn"))
    return found


def plot(results: Results) -> Mapping[str, Figure]:
    pictures = new_figure("Test digits through codes of 32 numbers", width=8, height=3.6)
    made = [unpack(results["nets"][name]["pictures"]) for name in TARGETS]
    show_rows(
        pictures.subplots(),
        [unpack(results["originals"]), unpack(results["pca_pictures"]), *made],
        ["original", "PCA-32", *TARGETS],
    )
    bars = new_figure("Codes of 32 numbers: error on training and on test digits", width=7, height=4)
    axes = add_grid(bars.subplots())
    names = ["PCA-32", *TARGETS]
    found = [results["pca"], *(results["nets"][name] for name in TARGETS)]
    colours = [COLOURS["pca"], *[COLOURS["ours"]] * len(TARGETS)]
    places = np.arange(len(names))
    for offset, part, strength in ((-0.2, "train", 0.45), (0.2, "test", 1.0)):
        heights = [1000 * each[part] for each in found]
        drawn = axes.bar(places + offset, heights, 0.38, color=colours, alpha=strength)
        axes.bar_label(drawn, [f"{part}\n{height:.2f}" for height in heights], fontsize=8)
    axes.set_xticks(places, names)
    axes.set(xlabel="net", ylabel="mean squared error a pixel, thousandths", ylim=(0, 1200 * found[0]["test"]))
    return {"pictures": pictures, "errors": bars}


def summary(results: Results) -> str:
    nets, pca = results["nets"], results["pca"]
    gain = {name: 10 * np.log10(pca["test"] / net["test"]) for name, net in nets.items()}
    wide, fashion = nets["digits-wide"], results["fashion"]
    return (
        f"More than PCA's. With 32 numbers PCA leaves an error of {pca['test']:.5f} on test digits (as 8-bit pictures; "
        f"{results['pca_uncut']:.5f} before they are cut to 0..1); one layer each way with a sigmoid at the end leaves "
        f"{nets['digits']['test']:.5f} ({gain['digits']:.1f} dB less), three layers {nets['digits-deep']['test']:.5f} "
        f"({gain['digits-deep']:.1f} dB), and 1.1 million weights {wide['test']:.5f} ({gain['digits-wide']:.1f} dB). "
        "The digits lie on a curved surface that a plane of 32 directions cannot follow.\n\n"
        "What the weights buy is not free: the error on test digits is "
        f"{nets['digits']['test'] / nets['digits']['train']:.2f} times that on training digits for the smallest net, "
        f"and {wide['test'] / wide['train']:.2f} times for the widest, which begins to know its training digits by "
        f"heart. Of a cross-entropy, {results['entropy']:.4f} is there even for perfect pictures, since their pixels "
        "are grey: the nets are to be compared by what is above it. One layer each way stands at "
        f"{nets['digits']['bce']:.4f}, {_gap_text(nets['digits']['bce'], 0.09)}: depth buys more than time does. "
        "Seconds were taken on two cores that other fits shared.\n\n"
        f"One changed word, data.source, trains the same recipe on pictures of clothes: {fashion['net']:.5f} after "
        f"{FASHION_EPOCHS} epochs, where PCA-32 of those pictures leaves {fashion['pca']:.5f}."
    )


def _splits(data: Dataset) -> tuple[tuple[str, Items], tuple[str, Items]]:
    return ("train", data.train), ("test", data.test)


def _gap_text(figure: float, bar: float) -> str:
    if figure <= bar:
        return f"within the stretch goal of {bar:.4f}"
    return f"{figure - bar:.4f} over the stretch goal of {bar:.4f}"


def _pca_text(results: Results) -> str:
    return f"PCA-{CODE}: {results['pca']['test']:.5f}"


def _to_unit_range(items: Items) -> NDArray[np.float64]:
    return items.astype(np.float64) / 255


def _fit_pca(train: Items) -> PCA:
    return PCA(CODE, svd_solver="covariance_eigh").fit(_to_unit_range(train).reshape(len(train), -1))


def _pca_round_trip(pca: PCA, items: Items) -> NDArray[np.float64]:
    flat = _to_unit_range(items).reshape(len(items), -1)
    return np.asarray(pca.inverse_transform(pca.transform(flat))).reshape(items.shape)


def pixel_entropy(items: Items) -> float:
    """Mean of the pixels' own, in nats: the cross-entropy of perfect answers."""
    grey = np.arange(256) / 255
    inside = np.clip(grey, 1e-12, 1 - 1e-12)
    nats = -(grey * np.log(inside) + (1 - grey) * np.log1p(-inside))
    return float((np.bincount(items.ravel(), minlength=256) * nats).sum() / items.size)


STUDY = Study(
    name="undercomplete",
    title="Undercomplete codes: beyond PCA",
    question="With a code smaller than the input, what does a nonlinear autoencoder keep that PCA cannot?",
    command="hourglass-train fit digits-deep",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
