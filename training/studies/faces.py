"""Would a model of faces compress trees? Both ways, against files of JPEG and WebP and each set's principal components.

The pictures state no licence: what is stored and drawn here are figures and curves. `measure` leaves the pictures
themselves in the runs' folder, and no model of them is published elsewhere.
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
"""Weights of the bits, from few bytes to many, and the step that the net's rounding begins with at each."""
ROC_RATE = 0.02
"""The one whose percentiles are to tell faces from trees."""
PCA_STEPS = (4.0, 2.0, 1.0, 0.5)
"""Of the principal components, pixels in 0..1."""
QUALITIES: dict[FileKind, tuple[int, ...]] = {"JPEG": (1, 10, 25, 50), "WEBP": (0, 5, 25, 50)}
COMPARED_BYTES = 64
"""Bytes at which codecs are compared."""
NUM_PICTURES = 8
PICTURES_FILE = "faces-trees.png"


def measure(workspace: Workspace) -> Results:
    """Bytes and PSNR of every codec on the held-out pictures of both sets, and how well each model tells them apart."""
    fits = {name: _fit_nets(workspace, name) for name in SETS}
    tests = {name: made[ROC_RATE].data.test for name, made in fits.items()}
    codecs = {name: _codecs(made) for name, made in fits.items()}
    curves = {seen: {"files": _file_curves(items), **_net_curves(codecs, items)} for seen, items in tests.items()}
    _save_pictures(workspace, {name: made["net"][1] for name, made in codecs.items()}, tests)
    aside = replace(workspace, models=workspace.runs / "measured-only")
    one = fits["faces"][ROC_RATE]
    return {
        "curves": curves,
        "told": {
            own: roc(aside.publish(fits[own][ROC_RATE]), tests[own], tests[other]) for own, other in (SETS, SETS[::-1])
        },
        "counts": {name: [len(made[ROC_RATE].data.train), len(tests[name])] for name, made in fits.items()},
        "parameters": one.result.net.parameter_count(),
        "seconds": one.result.seconds,
        "seed": one.recipe.optimizer.seed,
    }


def _fit_nets(workspace: Workspace, name: str) -> dict[float, TrainedModel]:
    """The nets of one set, by the weight of the bits."""
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
        "net": [net_codec(made.result.net, train) for made in fits.values()],
        "pca": [components.codec(step) for step in PCA_STEPS],
    }


def _net_curves(
    codecs: Mapping[str, Mapping[str, list[SymbolCodec]]], items: Items
) -> dict[str, dict[str, list[object]]]:
    """Points of bytes and PSNR, by the set that the codec is made for."""
    return {
        of: {kind: [codec.round_trip(items).point(items) for codec in made] for kind, made in kinds.items()}
        for of, kinds in codecs.items()
    }


def _file_curves(items: Items) -> dict[str, list[list[float]]]:
    return {
        kind.lower(): [file_codec(kind, quality, items).point(items) for quality in qualities]
        for kind, qualities in QUALITIES.items()
    }


def _save_pictures(workspace: Workspace, nets: Mapping[str, SymbolCodec], tests: Mapping[str, Items]) -> None:
    """Originals of both sets, each with what either model makes of them, for whoever runs this."""
    rows = [
        row
        for items in (tests[name][:NUM_PICTURES] for name in SETS)
        for row in (items, *(nets[of].round_trip(items).pictures for of in SETS))
    ]
    workspace.runs.mkdir(parents=True, exist_ok=True)
    imsave(workspace.runs / PICTURES_FILE, make_grid(rows))


def rows(results: Results) -> Sequence[Row]:
    found: list[Row] = []
    for seen, other in (SETS, SETS[::-1]):
        curves = results["curves"][seen]
        own, foreign = (psnr_at(curves[of]["net"], COMPARED_BYTES) for of in (seen, other))
        pca, (least, quality) = psnr_at(curves[seen]["pca"], COMPARED_BYTES), curves["files"]["webp"][0]
        jpeg = curves["files"]["jpeg"][0]
        reference = (
            f"PCA of {seen}: {pca:.1f}; the fewest bytes of WebP: {least:.0f} for {quality:.1f} dB, "
            f"of JPEG: {jpeg[0]:.0f} for {jpeg[1]:.1f} dB"
        )
        found.append(
            Row(f"{seen} in {COMPARED_BYTES} bytes by the model of {seen}, dB", own, reference, "scikit-learn, Pillow")
        )
        reference = (
            f"PCA of {other}: {psnr_at(curves[other]['pca'], COMPARED_BYTES):.1f}; the model of {seen}: {own:.1f}"
        )
        found.append(
            Row(f"{seen} in {COMPARED_BYTES} bytes by the model of {other}, dB", foreign, reference, "scikit-learn")
        )
    for own, other in (SETS, SETS[::-1]):
        what = f"{other} told from {own} by the percentile of the model of {own}, AUROC"
        found.append(Row(what, results["told"][own]["auroc"], "chance: 0.5", "scikit-learn"))
    return found


def plot(results: Results) -> Mapping[str, Figure]:
    made = new_figure("Faces and trees in few bytes: held-out pictures, 64x64 in colour", 9.0, 4.8)
    for axes, seen in zip(made.subplots(1, 2, sharex=True, sharey=True), SETS, strict=True):
        _plot_curves(axes, results["curves"][seen], seen)
    made.axes[0].set_ylabel("PSNR of the mean squared error, dB")
    handles, labels = made.axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3)
    return {"curves": made, "told": _roc_figure(results)}


def _plot_curves(axes: Axes, curves: Mapping[str, Mapping[str, Curve]], seen: str) -> None:
    for of, dash in zip(SETS, ("-", "--"), strict=True):
        plot_curve(axes, curves[of]["net"], f"net made for {of}", COLOURS["ours"], dash)
        plot_curve(axes, curves[of]["pca"], f"PCA made for {of}", COLOURS["pca"], dash)
    for kind, name in (("jpeg", "JPEG"), ("webp", "WebP")):
        plot_curve(axes, curves["files"][kind], name, COLOURS[kind])
    setup_bytes_axis(axes, f"pictures of {seen}", (8, 16, 32, 64, 128, 256, 512, 1024))


def _roc_figure(results: Results) -> Figure:
    made = new_figure("Telling the other kind by the percentile of the error", 5.5, 5.4)
    axes = add_grid(made.subplots())
    for own, colour in zip(SETS, ("ours", "other"), strict=True):
        found = results["told"][own]
        label = f"model of {own}: AUROC {found['auroc']:.2f}"
        axes.plot(*np.array(found["curve"]).T, color=COLOURS[colour], label=label)
    axes.plot([0, 1], [0, 1], ":", color=COLOURS["input"], label="chance")
    axes.set(xlabel="share of the model's own kind called foreign", ylabel="share of the other kind called foreign")
    axes.set_aspect("equal")
    made.legend(loc="outside lower center", ncols=3, fontsize=8)
    return made


def summary(results: Results) -> str:
    curves, auroc, counts = results["curves"], results["told"], results["counts"]
    faces, trees = curves["faces"], curves["trees"]
    own, foreign, native = (psnr_at(c["net"], COMPARED_BYTES) for c in (faces["faces"], trees["faces"], trees["trees"]))
    back, pca = psnr_at(faces["trees"]["net"], COMPARED_BYTES), psnr_at(faces["faces"]["pca"], COMPARED_BYTES)
    webp, jpeg = faces["files"]["webp"][0], faces["files"]["jpeg"][0]
    return (
        f"No. The model of faces, fitted to {counts['faces'][0]} of them, gives faces it never saw {own:.1f} dB in "
        f"{COMPARED_BYTES} bytes, and trees {foreign:.1f} dB: it draws trees as faces, and more bytes hardly help. The "
        f"other way, the model of {counts['trees'][0]} trees makes {native:.1f} dB of trees and {back:.1f} dB of "
        "faces: it knows little even of trees, which have less in common than faces have, and a face is the smoother "
        "picture. (The faces are of few people, the same ones in both parts, which flatters their model.)\n\n"
        f"JPEG has no favourite, but no file of its is smaller than {jpeg[0]:.0f} bytes for a face, and that one has "
        f"{jpeg[1]:.1f} dB, less than the model of faces in {COMPARED_BYTES}; the smallest of WebP has {webp[1]:.1f} "
        f"dB in {webp[0]:.0f}, more than either model reached on anything. With so few pictures a net learns next to "
        f"nothing beyond the principal components that it begins with ({pca:.1f} dB of faces in as many bytes), while "
        "the model inside JPEG and WebP, that pictures are smooth, was made for everyone's.\n\n"
        "Does the error tell? By the `percentile` that /reconstruct states, the model of faces ranks a tree above a "
        f"face with probability {auroc['faces']['auroc']:.2f} (AUROC; held-out pictures of both), the model of trees a "
        f"face above a tree with {auroc['trees']['auroc']:.2f}. A high error says that a picture is hard, which is not "
        "the same as foreign.\n\n"
        "The pictures state no licence, so none is shown here and no model of them is shipped. "
        f"`hourglass-train study faces` draws them, with what either model makes of them, to {PICTURES_FILE} in the "
        "folder of the runs."
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
