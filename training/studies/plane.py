"""The latent space of digits on a plane, and its problems: gaps, classes that overlap, no statistical model."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from training.data import Items
from training.evaluation.figures import error_figures, run_in_batches, to_uint8
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import new_figure
from training.studies.base.study import Results, Row, Study
from training.studies.measures import latent_space
from training.studies.measures.classifier import CONFIDENT, get_labels, train_classifier
from training.workspace import Workspace


def measure(workspace: Workspace) -> Results:
    """The error, beside PCA-2; the map of the plane; and its three problems, each as a figure."""
    model = workspace.model("digits-2d")
    data, card = model.data, model.card
    classes, labels = get_labels(data)
    classifier = train_classifier(data.train, classes)
    codes = run_in_batches(model.graphs["encode"], data.test)
    train, test = _flatten(data.train), _flatten(data.test)
    pca = PCA(2, svd_solver="covariance_eigh").fit(train)
    flat = np.asarray(pca.transform(test))
    made = np.asarray(pca.inverse_transform(flat)).reshape(data.test.shape)
    return {
        "mse": error_figures(run_in_batches(model.graphs["decode"], codes), data.test)["mse"],
        "pca_mse": error_figures(to_uint8(made), data.test)["mse"],
        "pca_uncut": float(np.square(made.reshape(test.shape) - test).mean()),
        "parameters": card.parameters,
        "seconds": card.made.seconds,
        "seed": card.made.seed,
        **latent_space.latent_metrics(
            model.graphs, data.test, labels, classifier, latent_space.fit_normal(codes), codes
        ),
        **latent_space.map_plane(model, classifier),
        "controls": latent_space.controls(classifier, data.test, labels),
        "pca_purity": latent_space.knn_purity(flat, labels),
        "pca_codes": pack(flat[: latent_space.DOTS]),
    }


def rows(results: Results) -> Sequence[Row]:
    facts = f"{results['parameters']:,} weights, {results['seconds']:.0f} s, seed {results['seed']}"
    controls = results["controls"]
    return (
        Row(
            f"digits-2d ({facts}): test MSE, as served",
            results["mse"],
            f"PCA-2: {results['pca_mse']:.5f} ({results['pca_uncut']:.5f} before it is cut to 8 bits)",
            "scikit-learn",
            0.037,
            0.034,
        ),
        Row(
            "gaps: share of the plane that decodes to nothing recognised",
            results["gaps"],
            f"reconstructed test digits: {1 - results['reconstructed']:.3f}, the digits: {1 - controls['digits']:.3f}",
        ),
        Row(
            "gaps: share of the plane (25 x 25 cells) that holds half of the training digits",
            results["crowded"],
            f"were they spread evenly: 0.5; without a single digit: {results['empty']:.3f}",
        ),
        Row(
            f"separability: share of a code's {latent_space.NEIGHBOURS} nearest that are of its class",
            results["purity"],
            f"PCA-2: {results['pca_purity']:.3f}, at random: 0.100",
            "scikit-learn",
        ),
        *_statistical_model_rows(results),
    )


def _statistical_model_rows(results: Results) -> Sequence[Row]:
    """What there is instead of a statistical model."""
    figures = (
        ("distance from the best normal distribution, in its standard deviations", "distance", "true draws", "floor"),
        (
            "share of its draws that decode to something recognised",
            "drawn",
            "reconstructed test digits",
            "reconstructed",
        ),
    )
    return (
        *(
            Row(f"no statistical model: {what}", results[key], f"{of}: {results[by]:.3f}")
            for what, key, of, by in figures
        ),
        Row("no statistical model: share of the rarest class among those", results["rarest"], "of ten classes: 0.100"),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    codes = new_figure("10,000 test digits as two numbers, coloured by class (4,000 drawn)", width=10, height=4.6)
    left, right = codes.subplots(1, 2)
    labels = unpack(results["labels"])
    latent_space.show_codes(left, unpack(results["pca_codes"]), labels)
    left.set_title("PCA-2", fontsize=10)
    latent_space.show_codes(right, unpack(results["codes"]), labels, results["box"])
    right.set_title("digits-2d", fontsize=10)
    latent_space.name_classes(right)
    plane = new_figure("What the plane of digits-2d decodes to", width=10, height=4.8)
    left, right = plane.subplots(1, 2)
    latent_space.show_pictures(left, results)
    left.set_title("the decoded pictures, each where its code lies", fontsize=10)
    latent_space.show_map(right, results)
    right.set_title(f"the class that is recognised (p ≥ {CONFIDENT}); white: none", fontsize=10)
    latent_space.name_classes(right)
    return {"codes": codes, "plane": plane}


def summary(results: Results) -> str:
    controls = results["controls"]
    return (
        f"Two numbers leave an error of {results['mse']:.4f} where PCA-2 leaves {results['pca_mse']:.4f}, and "
        f"the classes part by themselves: {results['purity']:.0%} of a digit's {latent_space.NEIGHBOURS} nearest codes "
        f"are of its class, {results['pca_purity']:.0%} in PCA's plane. No label was shown to the net.\n\n"
        f"The problems are there, and can be counted. Gaps: {results['gaps']:.0%} of the plane (the box between the "
        f"outer 0.5 % of the codes on each axis) decodes to nothing that a classifier recognises, against "
        f"{1 - results['reconstructed']:.0%} of reconstructed test digits; they lie along the borders of the classes. "
        f"And half of the digits crowd in {results['crowded']:.1%} of it, while {results['empty']:.0%} holds none at "
        "all: there the decoder was never told what to answer, and goes on with what it knows. Separability: "
        f"{1 - results['purity']:.0%} of the neighbours are of another class, so classes run into each other where the "
        "plane is full. No statistical model: seen along a direction, a code lies "
        f"{results['distance']:.2f} standard deviations from where the normal distribution that fits best has it "
        f"({results['floor']:.3f} for true draws); {1 - results['drawn']:.0%} of its draws decode to nothing "
        f"recognised, and of the others {results['rarest']:.1%} are of the rarest class, not a tenth. To ask the "
        "decoder for a new digit one has to know where the codes lie, and the training says nothing about that.\n\n"
        f"The judge is a convolutional classifier ({controls['accuracy']:.2%} right on test digits, its probabilities "
        f"calibrated by a temperature). It recognises, with {CONFIDENT:.0%} or more, {controls['digits']:.1%} of the "
        f"test digits and {controls['mixed']:.1%} of the means of two digits of different classes, which are none."
    )


def _flatten(items: Items) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    return items.reshape(len(items), -1).astype(np.float64) / 255


STUDY = Study(
    name="plane",
    title="The latent space of digits",
    question="Two numbers for a digit: what does their plane look like, and what is wrong with it?",
    command="hourglass-train fit digits-2d",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
