"""Digits through a net that counts its bits, against JPEG, WebP and principal components; then the same on clothes."""

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
"""Weight of the bits, from few bytes to many, and the step that the net's rounding begins with."""
PCA_STEPS = (1.6, 1.0, 0.7, 0.5, 0.37, 0.28)
"""Of the codec of principal components, pixels in 0..1."""
QUALITIES: dict[FileKind, tuple[int, ...]] = {"JPEG": (1, 5, 10, 25, 50, 75), "WEBP": (0, 1, 5, 10, 25, 50)}
COMPARED_BYTES = (25, 64)
TARGET_GAIN = 2.0
NUM_PICTURES = 10
NAMES = {"ours": "the net", "pca": "principal components", "jpeg": "JPEG", "webp": "WebP"}
SETS = {"digits": "digits (MNIST test set)", "clothes": "clothes (Fashion-MNIST), by the digits' models"}


def measure(workspace: Workspace) -> Results:
    """Bytes and PSNR of every codec at several qualities, on the digits' test set and on that of Fashion-MNIST."""
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
    """One net for each of FITS; the recipe's own is among them."""
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
    """Points of bytes and PSNR for each codec."""
    curves = {"ours": [codec.round_trip(items).point(items) for codec in ours]}
    curves["pca"] = [codec.round_trip(items).point(items) for codec in pca]
    for kind, qualities in QUALITIES.items():
        coded = [file_codec(kind, quality, items) for quality in qualities]
        curves[kind.lower()] = [made.point(items) for made in coded]
    return curves


def _pictures(
    ours: Sequence[SymbolCodec], components: PcaBasis, curves: Mapping[str, Any], items: Items
) -> list[dict[str, Any]]:
    """Rows of pictures, each with the mean bytes of its codec over the whole set."""
    shown = items[:NUM_PICTURES]
    rows = [_row("as it is", shown, items[0].size)]
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
    least: CodecResult = file_codec("WEBP", QUALITIES["WEBP"][0], shown)
    return [*rows, _row("WebP at its least", least.pictures, curves["webp"][0][0])]


def _row(what: str, pictures: Items, size: float) -> dict[str, Any]:
    return {"what": what, "bytes": size, "pictures": pack(pictures)}


def psnr_gain(results: Results, name: str, size: float) -> float:
    """dB of the net over the codec of principal components at that many bytes."""
    curves = results["curves"][name]
    return psnr_at(curves["ours"], size) - psnr_at(curves["pca"], size)


def rows(results: Results) -> Sequence[Row]:
    digits = results["curves"]["digits"]
    return [
        Row(
            f"digits in {size} bytes: dB over the codec of principal components",
            psnr_gain(results, "digits", size),
            f"that codec: {psnr_at(digits['pca'], size):.1f} dB; the net: {psnr_at(digits['ours'], size):.1f} dB",
            "measured here, PCA by scikit-learn",
            TARGET_GAIN,
            higher_is_better=True,
        )
        for size in COMPARED_BYTES
    ] + [
        Row(
            "fewest bytes of a digit as a WebP file",
            digits["webp"][0][0],
            f"at {digits['webp'][0][1]:.1f} dB; JPEG's fewest: {digits['jpeg'][0][0]:.0f}",
            "Pillow",
        ),
        Row(
            "clothes by the digits' net in 64 bytes: dB over the digits' principal components",
            psnr_gain(results, "clothes", 64),
            f"those: {psnr_at(results['curves']['clothes']['pca'], 64):.1f} dB",
        ),
    ]


def plot(results: Results) -> Mapping[str, Figure]:
    made = new_figure("Bytes and quality of 28x28 pictures, every picture by itself", 9.0, 4.5)
    for axes, name in zip(made.subplots(1, 2, sharex=True, sharey=True), SETS, strict=True):
        _plot_curves(axes, results["curves"][name], SETS[name])
    made.axes[0].set_ylabel("PSNR of the mean squared error, dB")
    made.axes[0].legend(loc="lower right")
    return {"curves": made, **{name: _picture_figure(results, name) for name in SETS}}


def _plot_curves(axes: Axes, curves: Mapping[str, Curve], title: str) -> None:
    for kind, points in curves.items():
        plot_curve(axes, points, NAMES[kind], COLOURS[kind])
    setup_bytes_axis(axes, title, (8, 16, 32, 64, 128, 256, 512))


def _picture_figure(results: Results, name: str) -> Figure:
    made = new_figure(f"What is left of {SETS[name]}", 8.0, 4.4)
    found = results["pictures"][name]
    labels = [f"{row['what']},\n{row['bytes']:.0f} bytes" for row in found]
    show_rows(made.subplots(), [unpack(row["pictures"]) for row in found], labels)
    return made


def summary(results: Results) -> str:
    digits, clothes = results["curves"]["digits"], results["curves"]["clothes"]
    small, large = (psnr_gain(results, "digits", size) for size in COMPARED_BYTES)
    gap = results["training_curve"][-1][1] - digits["ours"][-1][1]
    lost = [psnr_at(digits[kind], 64) - psnr_at(clothes[kind], 64) for kind in ("ours", "pca")]
    return (
        f"On pictures as small as these it is easy to beat JPEG and says little: a JPEG file of a digit takes at least "
        f"{digits['jpeg'][0][0]:.0f} bytes and a WebP file {digits['webp'][0][0]:.0f}, much of it headers, where raw "
        "pixels take 784. Whatever has no header wins. The honest opponent is a linear codec made for the same data: "
        "all principal components, rounded to one step, written by a range coder whose tables are counted on the "
        f"training set. Over it the net gains {small:.1f} dB at {COMPARED_BYTES[0]} bytes and {large:.1f} dB at "
        f"{COMPARED_BYTES[1]}. Both write every picture by itself, and all figures are of pictures read again from "
        f"those bytes. The tables and the net's {results['parameters'] / 1e6:.1f} million weights are not counted: "
        "whoever reads has them.\n\n"
        "The net begins as the linear codec behind a sigmoid and learns what layers beside it add, in "
        f"{results['epochs']} epochs for each of the {len(results['rates'])} points "
        f"of its curve (seed {results['seed']}, {min(results['seconds']):.0f} to {max(results['seconds']):.0f} s on a "
        f"machine with much else to do). At its most bytes it is {gap:.1f} dB better on its training set than on the "
        "test set.\n\n"
        "It is specific to its data, as the lecture says. On Fashion-MNIST, coded by what was made for digits, the net "
        f"is {lost[0]:.1f} dB worse than on digits at 64 bytes and the components {lost[1]:.1f} dB: "
        f"{psnr_at(clothes['ours'], 64):.1f} dB and {psnr_at(clothes['pca'], 64):.1f} dB are left, and more bytes help "
        "the linear codec alone, which can write any picture. WebP knows nothing of either and gives "
        f"clothes {clothes['webp'][0][1]:.1f} dB in {clothes['webp'][0][0]:.0f} bytes."
    )


STUDY = Study(
    name="compression",
    title="Compression: the codec and the data",
    question="Autoencoders compress: why is it almost impossible for one to beat JPEG, and on what can it?",
    command=f"hourglass-train fit {RECIPE}",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
