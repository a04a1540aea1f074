"""Compression of digits by a compressive network, compared with JPEG, WebP and PCA; clothes by the same codecs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.data import Items
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import COLOURS, new_figure, show_rows
from training.studies.base.rate_distortion import Curve, plot_curve, psnr_at, setup_bytes_axis
from training.studies.base.study import Results, Row, Study
from training.studies.measures.codecs import (
    CodecResult,
    FileKind,
    PcaBasis,
    SymbolCodec,
    file_codec,
    fit_pca,
    net_codec,
)
from training.workspace import TrainedModel, Workspace

RECIPE = "digits-codec"
FITS = ((0.04, 1.1), (0.02, 0.85), (0.007, 0.5), (0.002, 0.3), (0.001, 0.22))
"""Weight of the rate in the loss and initial rounding step of each network, from few bytes to many."""
PCA_STEPS = (1.6, 1.0, 0.7, 0.5, 0.37, 0.28)
"""Rounding steps of the PCA codec, for pixels in 0..1."""
QUALITIES: dict[FileKind, tuple[int, ...]] = {"JPEG": (1, 5, 10, 25, 50, 75), "WEBP": (0, 1, 5, 10, 25, 50)}
LABELS = {
    "as it is": "original",
    "the net": "network",
    "principal components": "PCA",
    "WebP at its least": "smallest WebP",
}
"""Labels of rows of pictures by the names in results that were stored before these were shortened."""
COMPARED_BYTES = (25, 64)
"""Bytes per picture at which codecs are compared."""
TARGET_GAIN = 2.0
NUM_PICTURES = 10
NAMES = {"ours": "network", "pca": "PCA", "jpeg": "JPEG", "webp": "WebP"}
SETS = {"digits": "digits (MNIST test set)", "clothes": "clothes (Fashion-MNIST), by codecs for digits"}


def measure(workspace: Workspace) -> Results:
    """Measure bytes and PSNR of every codec at several qualities, on the test sets of MNIST and Fashion-MNIST."""
    nets = fit_nets(workspace)
    train, sets = nets[0].data.train, {"digits": nets[0].data.test}
    sets["clothes"] = workspace.data(RECIPE, "data.source=fashion-mnist").test
    ours = [net_codec(trained.result.net, train) for trained in nets]
    components = fit_pca(train)
    pca = [components.codec(step) for step in PCA_STEPS]
    curves = {name: _curves(ours, pca, items) for name, items in sets.items()}
    seen = train[: len(sets["digits"])]
    return {
        "curves": curves,
        "training_curve": [codec.round_trip(seen).point(seen) for codec in ours],
        "moved": [codec.round_trip(sets["clothes"]).clipped_share for codec in ours],
        "rates": [rate for rate, _ in FITS],
        "seconds": [trained.result.seconds for trained in nets],
        "epochs": nets[0].recipe.optimizer.epochs,
        "parameters": nets[0].result.net.parameter_count(),
        "seed": nets[0].recipe.optimizer.seed,
        "pictures": {name: _pictures(ours, components, curves[name], items) for name, items in sets.items()},
    }


def fit_nets(workspace: Workspace) -> list[TrainedModel]:
    """Train one network for each entry of FITS, among them the recipe's own."""
    return [
        workspace.fit(
            RECIPE,
            f"objective.penalties={{rate={rate}}}",
            f"net.quantization_step={step}",
            variant=f"rate-{rate}",
        )
        for rate, step in FITS
    ]


def _curves(ours: Sequence[SymbolCodec], pca: Sequence[SymbolCodec], items: Items) -> dict[str, list[list[float]]]:
    """Return the points of bytes and PSNR of each codec on `items`."""
    curves = {"ours": [codec.round_trip(items).point(items) for codec in ours]}
    curves["pca"] = [codec.round_trip(items).point(items) for codec in pca]
    for kind, qualities in QUALITIES.items():
        curves[kind.lower()] = [file_codec(kind, quality, items).point(items) for quality in qualities]
    return curves


def _pictures(
    ours: Sequence[SymbolCodec], components: PcaBasis, curves: Mapping[str, Any], items: Items
) -> list[dict[str, Any]]:
    """Return rows of decoded pictures, each with the mean bytes of its codec over the whole set."""
    shown = items[:NUM_PICTURES]
    rows = [_row("original", shown, items[0].size)]
    for number in range(0, len(ours), 2):
        size = curves["ours"][number][0]
        sizes = [point[0] for point in curves["pca"]]
        step = float(np.exp(np.interp(np.log(size), np.log(sizes), np.log(PCA_STEPS))))
        rows.append(_row(NAMES["ours"], ours[number].round_trip(shown).pictures, size))
        rows.append(
            _row(
                NAMES["pca"],
                components.codec(step).round_trip(shown).pictures,
                float(np.clip(size, min(sizes), max(sizes))),
            )
        )
    smallest: CodecResult = file_codec("WEBP", QUALITIES["WEBP"][0], shown)
    return [*rows, _row("smallest WebP", smallest.pictures, curves["webp"][0][0])]


def _row(label: str, pictures: Items, size: float) -> dict[str, Any]:
    return {"what": label, "bytes": size, "pictures": pack(pictures)}


def psnr_gain(results: Results, name: str, size: float) -> float:
    """Return the PSNR of the network minus that of the PCA codec in dB, at `size` bytes on the set `name`."""
    curves = results["curves"][name]
    return psnr_at(curves["ours"], size) - psnr_at(curves["pca"], size)


def rows(results: Results) -> Sequence[Row]:
    """Return the gains over the PCA codec, and the sizes of the smallest files."""
    digits = results["curves"]["digits"]
    return [
        Row(
            f"digits in {size} bytes: PSNR over that of the PCA codec, dB",
            psnr_gain(results, "digits", size),
            f"PCA codec: {psnr_at(digits['pca'], size):.1f} dB; network: {psnr_at(digits['ours'], size):.1f} dB",
            "measured here, PCA by scikit-learn",
            TARGET_GAIN,
            higher_is_better=True,
        )
        for size in COMPARED_BYTES
    ] + [
        Row(
            "smallest WebP file of a digit, bytes",
            digits["webp"][0][0],
            f"at {digits['webp'][0][1]:.1f} dB; smallest JPEG file: {digits['jpeg'][0][0]:.0f}",
            "Pillow",
        ),
        Row(
            "clothes in 64 bytes by the codecs for digits: PSNR over that of the PCA codec, dB",
            psnr_gain(results, "clothes", 64),
            f"PCA codec: {psnr_at(results['curves']['clothes']['pca'], 64):.1f} dB",
        ),
    ]


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the rate-distortion curves, and decoded pictures of both sets."""
    figure = new_figure("Size and quality of 28x28 pictures, each encoded by itself", 9.0, 4.5)
    for axes, name in zip(figure.subplots(1, 2, sharex=True, sharey=True), SETS, strict=True):
        _plot_curves(axes, results["curves"][name], SETS[name])
    figure.axes[0].set_ylabel("PSNR of the mean squared error, dB")
    figure.axes[0].legend(loc="lower right")
    return {"curves": figure, **{name: _picture_figure(results, name) for name in SETS}}


def _plot_curves(axes: Axes, curves: Mapping[str, Curve], title: str) -> None:
    for kind, points in curves.items():
        plot_curve(axes, points, NAMES[kind], COLOURS[kind])
    setup_bytes_axis(axes, title, (8, 16, 32, 64, 128, 256, 512))


def _picture_figure(results: Results, name: str) -> Figure:
    figure = new_figure(f"Decoded {SETS[name]}", 8.0, 4.4)
    stored = results["pictures"][name]
    labels = [f"{LABELS.get(row['what'], row['what'])},\n{row['bytes']:.0f} bytes" for row in stored]
    show_rows(figure.subplots(), [unpack(row["pictures"]) for row in stored], labels)
    return figure


def summary(results: Results) -> str:
    """Return the answer as text."""
    digits, clothes = results["curves"]["digits"], results["curves"]["clothes"]
    small, large = (psnr_gain(results, "digits", size) for size in COMPARED_BYTES)
    gap = results["training_curve"][-1][1] - digits["ours"][-1][1]
    lost = [psnr_at(digits[kind], 64) - psnr_at(clothes[kind], 64) for kind in ("ours", "pca")]
    return (
        "Beating JPEG on pictures as small as these is easy and says little: a JPEG file of a digit has at least "
        f"{digits['jpeg'][0][0]:.0f} bytes and a WebP file {digits['webp'][0][0]:.0f}, many of them headers; the raw "
        "pixels have 784. Any codec without headers wins. A fair competitor is a linear codec for the same data: all "
        "principal components, rounded with one step size and encoded by a range coder whose tables are counted on the "
        f"training set. The network gains {small:.1f} dB over it at {COMPARED_BYTES[0]} bytes and {large:.1f} dB at "
        f"{COMPARED_BYTES[1]}. Both encode every picture by itself, and all values are of pictures decoded from these "
        f"bytes. The tables and the network's {results['parameters'] / 1e6:.1f} million weights are not counted, since "
        "they belong to the decoder.\n\n"
        "The network is initialised as the linear codec followed by a sigmoid; its nonlinear layers learn the rest in "
        f"{results['epochs']} epochs for each of the {len(results['rates'])} points "
        f"of its curve (seed {results['seed']}, {min(results['seconds']):.0f} to {max(results['seconds']):.0f} s on a "
        f"busy machine). At its highest rate it is {gap:.1f} dB better on its training set than on the test set.\n\n"
        "The codec is specific to its data. On Fashion-MNIST, encoded by the codecs for digits in 64 bytes, the "
        f"network is {lost[0]:.1f} dB worse than on digits and PCA {lost[1]:.1f} dB; they reach "
        f"{psnr_at(clothes['ours'], 64):.1f} dB and {psnr_at(clothes['pca'], 64):.1f} dB. More bytes only help the "
        "linear codec, which can represent any picture. WebP, made for neither set, encodes "
        f"clothes with {clothes['webp'][0][1]:.1f} dB in {clothes['webp'][0][0]:.0f} bytes."
    )


STUDY = Study(
    name="compression",
    title="Compression: the codec and the data",
    question="Autoencoders compress: why is it almost impossible for one to beat JPEG, and on which data can it?",
    command=f"hourglass-train fit {RECIPE}",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
