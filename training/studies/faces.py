"""Compression of faces by a model of trees and the reverse, compared with JPEG, WebP and PCA; and anomaly detection.

The pictures state no licence, so that only figures and curves are stored. `measure` saves pictures in the folder of the
runs, and its models are not published elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave

from training.data import Items
from training.evaluation.picture_grid import make_grid
from training.studies.base.plot_style import COLOURS, add_grid, new_figure
from training.studies.base.rate_distortion import Curve, plot_curve, psnr_at, setup_bytes_axis
from training.studies.base.study import Results, Row, Study
from training.studies.measures.anomaly import roc
from training.studies.measures.codecs import FileKind, SymbolCodec, file_codec, fit_pca, net_codec
from training.workspace import TrainedModel, Workspace

RECIPE = "faces"
SETS = ("faces", "trees")
RATES = {0.06: 2.0, 0.02: 1.0, 0.005: 0.5}
"""Weights of the rate in the loss, from few bytes to many, and the initial rounding step of each network."""
ROC_RATE = 0.02
"""Weight of the rate of the models whose percentiles separate faces from trees."""
PCA_STEPS = (4.0, 2.0, 1.0, 0.5)
"""Rounding steps of the PCA codec, for pixels in 0..1."""
QUALITIES: dict[FileKind, tuple[int, ...]] = {"JPEG": (1, 10, 25, 50), "WEBP": (0, 5, 25, 50)}
COMPARED_BYTES = 64
"""Bytes at which codecs are compared."""
NUM_PICTURES = 8
PICTURES_FILE = "faces-trees.png"


def measure(workspace: Workspace) -> Results:
    """Measure bytes and PSNR of every codec on the test pictures of both sets, and the ROC curve of each model."""
    fits = {name: _fit_nets(workspace, name) for name in SETS}
    tests = {name: trained[ROC_RATE].data.test for name, trained in fits.items()}
    codecs = {name: _codecs(trained) for name, trained in fits.items()}
    curves = {seen: {"files": _file_curves(items), **_net_curves(codecs, items)} for seen, items in tests.items()}
    _save_pictures(workspace, {name: kinds["net"][1] for name, kinds in codecs.items()}, tests)
    unshipped = replace(workspace, models=workspace.runs / "measured-only")
    one = fits["faces"][ROC_RATE]
    return {
        "curves": curves,
        "told": {
            own: roc(unshipped.publish(fits[own][ROC_RATE]), tests[own], tests[other])
            for own, other in (SETS, SETS[::-1])
        },
        "counts": {name: [len(trained[ROC_RATE].data.train), len(tests[name])] for name, trained in fits.items()},
        "parameters": one.result.net.parameter_count(),
        "seconds": one.result.seconds,
        "seed": one.recipe.optimizer.seed,
    }


def _fit_nets(workspace: Workspace, name: str) -> dict[float, TrainedModel]:
    """Train the networks of one set; return them by the weight of the rate."""
    return {
        rate: workspace.fit(
            RECIPE,
            f"model.name={name}",
            f"data.array={name}",
            f"objective.penalties={{rate={rate}}}",
            f"net.quantization_step={step}",
            variant=f"rate-{rate}",
        )
        for rate, step in RATES.items()
    }


def _codecs(fits: Mapping[float, TrainedModel]) -> dict[str, list[SymbolCodec]]:
    train = next(iter(fits.values())).data.train
    components = fit_pca(train)
    return {
        "net": [net_codec(trained.result.net, train) for trained in fits.values()],
        "pca": [components.codec(step) for step in PCA_STEPS],
    }


def _net_curves(
    codecs: Mapping[str, Mapping[str, list[SymbolCodec]]], items: Items
) -> dict[str, dict[str, list[object]]]:
    """Return the points of bytes and PSNR on `items`, by the training set of the codec and by its kind."""
    return {
        of: {kind: [codec.round_trip(items).point(items) for codec in steps] for kind, steps in kinds.items()}
        for of, kinds in codecs.items()
    }


def _file_curves(items: Items) -> dict[str, list[list[float]]]:
    return {
        kind.lower(): [file_codec(kind, quality, items).point(items) for quality in qualities]
        for kind, qualities in QUALITIES.items()
    }


def _save_pictures(workspace: Workspace, nets: Mapping[str, SymbolCodec], tests: Mapping[str, Items]) -> None:
    """Save originals of both sets, each followed by its reconstructions by both models."""
    rows = [
        row
        for items in (tests[name][:NUM_PICTURES] for name in SETS)
        for row in (items, *(nets[of].round_trip(items).pictures for of in SETS))
    ]
    workspace.runs.mkdir(parents=True, exist_ok=True)
    imsave(workspace.runs / PICTURES_FILE, make_grid(rows))


def rows(results: Results) -> Sequence[Row]:
    """Return the PSNRs of both models on both sets, and the AUROCs."""
    table: list[Row] = []
    for seen, other in (SETS, SETS[::-1]):
        curves = results["curves"][seen]
        own, foreign = (psnr_at(curves[of]["net"], COMPARED_BYTES) for of in (seen, other))
        pca, (least, quality) = psnr_at(curves[seen]["pca"], COMPARED_BYTES), curves["files"]["webp"][0]
        jpeg = curves["files"]["jpeg"][0]
        reference = (
            f"PCA of {seen}: {pca:.1f}; smallest WebP: {least:.0f} bytes with {quality:.1f} dB, "
            f"smallest JPEG: {jpeg[0]:.0f} bytes with {jpeg[1]:.1f} dB"
        )
        label = f"{seen} in {COMPARED_BYTES} bytes by the model of {seen}: PSNR, dB"
        table.append(Row(label, own, reference, "scikit-learn, Pillow"))
        reference = f"PCA of {other}: {psnr_at(curves[other]['pca'], COMPARED_BYTES):.1f}; model of {seen}: {own:.1f}"
        label = f"{seen} in {COMPARED_BYTES} bytes by the model of {other}: PSNR, dB"
        table.append(Row(label, foreign, reference, "scikit-learn"))
    for own, other in (SETS, SETS[::-1]):
        label = f"{other} detected by the error percentile of the model of {own}: AUROC"
        table.append(Row(label, results["told"][own]["auroc"], "chance: 0.5", "scikit-learn"))
    return table


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the rate-distortion curves on both sets, and the ROC curves."""
    figure = new_figure("Rate and distortion of held-out faces and trees, 64x64 in colour", 9.0, 4.8)
    for axes, seen in zip(figure.subplots(1, 2, sharex=True, sharey=True), SETS, strict=True):
        _plot_curves(axes, results["curves"][seen], seen)
    figure.axes[0].set_ylabel("PSNR of the mean squared error, dB")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return {"curves": figure, "told": _roc_figure(results)}


def _plot_curves(axes: Axes, curves: Mapping[str, Mapping[str, Curve]], seen: str) -> None:
    for of, dash in zip(SETS, ("-", "--"), strict=True):
        plot_curve(axes, curves[of]["net"], f"network trained on {of}", COLOURS["ours"], dash)
        plot_curve(axes, curves[of]["pca"], f"PCA of {of}", COLOURS["pca"], dash)
    for kind, name in (("jpeg", "JPEG"), ("webp", "WebP")):
        plot_curve(axes, curves["files"][kind], name, COLOURS[kind])
    setup_bytes_axis(axes, f"pictures of {seen}", (8, 16, 32, 64, 128, 256, 512, 1024))


def _roc_figure(results: Results) -> Figure:
    figure = new_figure("Detection of the other kind by the error percentile (ROC)", 5.5, 5.4)
    axes = add_grid(figure.subplots())
    for own, colour in zip(SETS, ("ours", "other"), strict=True):
        stored = results["told"][own]
        label = f"model of {own}: AUROC {stored['auroc']:.2f}"
        axes.plot(*np.array(stored["curve"]).T, color=COLOURS[colour], label=label)
    axes.plot([0, 1], [0, 1], ":", color=COLOURS["input"], label="chance")
    axes.set(xlabel="false positive rate (own kind)", ylabel="true positive rate (other kind)")
    axes.set_aspect("equal")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def summary(results: Results) -> str:
    """Return the answer as text."""
    curves, auroc, counts = results["curves"], results["told"], results["counts"]
    faces, trees = curves["faces"], curves["trees"]
    own, foreign, native = (psnr_at(c["net"], COMPARED_BYTES) for c in (faces["faces"], trees["faces"], trees["trees"]))
    back, pca = psnr_at(faces["trees"]["net"], COMPARED_BYTES), psnr_at(faces["faces"]["pca"], COMPARED_BYTES)
    webp, jpeg = faces["files"]["webp"][0], faces["files"]["jpeg"][0]
    return (
        f"No. The model of faces, trained on {counts['faces'][0]} faces, reaches {own:.1f} dB on held-out faces in "
        f"{COMPARED_BYTES} bytes, and {foreign:.1f} dB on trees: it renders trees as faces, and more bytes hardly "
        f"help. Conversely, the model of {counts['trees'][0]} trees reaches {native:.1f} dB on trees and {back:.1f} dB "
        "on faces. It models even trees poorly, since they have less in common than faces, and faces are smoother "
        "pictures. (The faces are of few people, who appear in both the training and the test set; this favours their "
        "model.)\n\n"
        f"JPEG is not specific to a kind of picture, but its smallest file of a face has {jpeg[0]:.0f} bytes and "
        f"{jpeg[1]:.1f} dB, less than the model of faces in {COMPARED_BYTES} bytes. The smallest WebP file has "
        f"{webp[1]:.1f} dB in {webp[0]:.0f} bytes, more than either model reaches on any set. With so few pictures a "
        "network learns almost nothing beyond the principal components with which it is initialised "
        f"({pca:.1f} dB on faces at the same size), whereas JPEG and WebP assume smoothness, which holds for most "
        "pictures.\n\n"
        "Does the reconstruction error detect foreign pictures? With the `percentile` that /reconstruct returns as "
        f"score, the model of faces ranks a tree above a face with a probability of {auroc['faces']['auroc']:.2f} "
        "(AUROC, on held-out pictures), and the model of trees ranks a face above a tree with "
        f"{auroc['trees']['auroc']:.2f}. A high error means that a picture is hard to reconstruct, which does not mean "
        "that it is foreign.\n\n"
        "The pictures state no licence, so that none is shown here and no model of them is shipped. "
        f"`hourglass-train study faces` saves them and their reconstructions as {PICTURES_FILE} in the folder of the "
        "runs."
    )


STUDY = Study(
    name="faces",
    title="Faces and trees",
    question="Would a model of faces compress trees?",
    command=f"hourglass-train fit {RECIPE} --set data.array=trees --set model.name=trees",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
