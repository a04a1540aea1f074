"""The latent space of digits with two numbers, and its problems: gaps, overlapping classes, no statistical model."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from training.evaluation.metrics import error_metrics, run_in_batches, to_uint8
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import new_figure
from training.studies.base.study import Results, Row, Study
from training.studies.measures import latent_space
from training.studies.measures.arrays import flatten64
from training.studies.measures.classifier import CONFIDENT, get_labels, train_classifier
from training.workspace import Workspace


def measure(workspace: Workspace) -> Results:
    """Measure the error compared with PCA, the map of the plane, and its three problems."""
    model = workspace.model("digits-2d")
    data, card = model.data, model.card
    classes, labels = get_labels(data)
    classifier = train_classifier(data.train, classes)
    codes = run_in_batches(model.graphs["encode"], data.test)
    train, test = flatten64(data.train), flatten64(data.test)
    pca = PCA(2, svd_solver="covariance_eigh").fit(train)
    pca_codes = np.asarray(pca.transform(test))
    projections = np.asarray(pca.inverse_transform(pca_codes)).reshape(data.test.shape)
    return {
        "mse": error_metrics(run_in_batches(model.graphs["decode"], codes), data.test)["mse"],
        "pca_mse": error_metrics(to_uint8(projections), data.test)["mse"],
        "pca_uncut": float(np.square(projections.reshape(test.shape) - test).mean()),
        "parameters": card.parameters,
        "seconds": card.made.seconds,
        "seed": card.made.seed,
        **latent_space.latent_metrics(
            model.graphs, data.test, labels, classifier, latent_space.fit_normal(codes), codes
        ),
        **latent_space.map_plane(model, classifier),
        "controls": latent_space.controls(classifier, data.test, labels),
        "pca_purity": latent_space.knn_purity(pca_codes, labels),
        "pca_codes": pack(pca_codes[: latent_space.DOTS]),
    }


def rows(results: Results) -> Sequence[Row]:
    """Return the error and the metrics of the three problems."""
    facts = f"{results['parameters']:,} weights, {results['seconds']:.0f} s, seed {results['seed']}"
    controls = results["controls"]
    return (
        Row(
            f"digits-2d ({facts}): test MSE, as served",
            results["mse"],
            f"PCA-2: {results['pca_mse']:.5f} ({results['pca_uncut']:.5f} before rounding to 8 bits)",
            "scikit-learn",
            0.037,
            0.034,
        ),
        Row(
            "gaps: fraction of the plane that decodes to nothing recognised",
            results["gaps"],
            f"reconstructed test digits: {1 - results['reconstructed']:.3f}, test digits: {1 - controls['digits']:.3f}",
        ),
        Row(
            "gaps: fraction of the plane (25 x 25 cells) that contains half of the training digits",
            results["crowded"],
            f"if spread evenly: 0.5; cells without a digit: {results['empty']:.3f}",
        ),
        Row(
            f"separability: fraction of the {latent_space.NEIGHBOURS} nearest neighbours with the same class",
            results["purity"],
            f"PCA-2: {results['pca_purity']:.3f}, at random: 0.100",
            "scikit-learn",
        ),
        *_statistical_model_rows(results),
    )


def _statistical_model_rows(results: Results) -> Sequence[Row]:
    """Return how far the codes are from a normal distribution, and what samples of it decode to."""
    metrics = (
        ("distance from the fitted normal distribution, in standard deviations", "distance", "its samples", "floor"),
        (
            "fraction of its samples that decode to something recognised",
            "drawn",
            "reconstructed test digits",
            "reconstructed",
        ),
    )
    return (
        *(
            Row(f"no statistical model: {label}", results[key], f"{reference}: {results[reference_key]:.3f}")
            for label, key, reference, reference_key in metrics
        ),
        Row("no statistical model: share of the rarest class among these", results["rarest"], "ten equal classes: 0.1"),
    )


def plot(results: Results) -> Mapping[str, Figure]:
    """Plot the codes of test digits, and what the plane decodes to."""
    codes = new_figure("Codes of test digits, coloured by class (4,000 of 10,000)", width=10, height=4.6)
    left, right = codes.subplots(1, 2)
    labels = unpack(results["labels"])
    latent_space.show_codes(left, unpack(results["pca_codes"]), labels)
    left.set_title("PCA-2", fontsize=10)
    latent_space.show_codes(right, unpack(results["codes"]), labels, results["box"])
    right.set_title("digits-2d", fontsize=10)
    latent_space.name_classes(right)
    plane = new_figure("Decoded plane of digits-2d", width=10, height=4.8)
    left, right = plane.subplots(1, 2)
    latent_space.show_pictures(left, results)
    left.set_title("decoded pictures, each at the place of its code", fontsize=10)
    latent_space.show_map(right, results)
    right.set_title(f"recognised class (p ≥ {CONFIDENT}); white: none", fontsize=10)
    latent_space.name_classes(right)
    return {"codes": codes, "plane": plane}


def summary(results: Results) -> str:
    """Return the answer as text."""
    controls = results["controls"]
    return (
        f"With two numbers the network has an error of {results['mse']:.4f}, and PCA-2 one of "
        f"{results['pca_mse']:.4f}. The classes separate without labels: {results['purity']:.0%} of the "
        f"{latent_space.NEIGHBOURS} nearest neighbours of a code have its class, {results['pca_purity']:.0%} in the "
        "plane of PCA.\n\n"
        f"The plane has three problems, and each can be measured. Gaps: {results['gaps']:.0%} of the plane (the box "
        "that excludes the outer 0.5 % of the codes at each end of both axes) decodes to nothing that a classifier "
        f"recognises, compared with {1 - results['reconstructed']:.0%} of reconstructed test digits. These places lie "
        f"along the borders between classes. Half of the digits lie in {results['crowded']:.1%} of the plane, and "
        f"{results['empty']:.0%} of it contains none at all: there the decoder extrapolates. Separability: "
        f"{1 - results['purity']:.0%} of the neighbours have another class, so that classes overlap where the plane is "
        "crowded. No statistical model: projected on a direction, codes are on average "
        f"{results['distance']:.2f} standard deviations away from the fitted normal distribution "
        f"({results['floor']:.3f} for samples of it). {1 - results['drawn']:.0%} of its samples decode to nothing "
        f"recognised, and the rarest class is {results['rarest']:.1%} of the others instead of 10 %. To "
        "generate a new digit, one must know where the codes lie, and the training objective does not determine that."
        "\n\n"
        f"The judge is a convolutional classifier with an accuracy of {controls['accuracy']:.2%} on test digits, "
        f"calibrated by temperature scaling. With a probability of at least {CONFIDENT:.0%} it recognises "
        f"{controls['digits']:.1%} of the test digits, and {controls['mixed']:.1%} of the means of two digits of "
        "different classes, which show no digit."
    )


STUDY = Study(
    name="plane",
    title="The latent space of digits",
    question="If a digit is encoded as two numbers, what does their plane look like, and what is wrong with it?",
    command="hourglass-train fit digits-2d",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
