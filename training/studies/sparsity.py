"""Sparse codes larger than their input: how seldom their units are on, and what they are good for beside the dense one.

What is made of the figures that `sparsity_measures` found.
"""

from collections.abc import Sequence

from training.studies.sparsity_figures import draw
from training.studies.sparsity_measures import measure
from training.studies.study import Results, Row, Study

PLAIN = "no penalty"
REFERENCES = {
    "top-k": ("k-sparse, 1000 units, k = 25: 1.35", "Makhzani and Frey 2014"),
    "lifetime": ("winner-take-all, 2000 units, SVM: 1.2; reproduced 1.4", "Makhzani and Frey 2015; tensorflow-fcwta"),
    "strokes": ("convolutional winner-take-all, SVM: 0.64", "Makhzani and Frey 2015"),
}


def rows(results: Results) -> Sequence[Row]:
    probes, variants = results["probes"], results["variants"]
    best, error = _best(results)
    beside = ", ".join(f"{name} {probes[name]['error']:.2f}" for name in ("pixels", "PCA-32", PLAIN))
    dense = f"{PLAIN}: {100 * variants[PLAIN]['on']:.1f}"
    return (
        Row(f"best sparse code ({best}): error of logistic regression, %", error, beside, bar=1.2, stretch=0.64),
        *(Row(f"{name}: the same, %", probes[name]["error"], *held) for name, held in REFERENCES.items()),
        *(Row(f"{name}: units on, %", 100 * variants[name]["on"], dense) for name in _sparse(results)),
    )


def words(results: Results) -> str:
    return "\n\n".join((_activity(results), _longer(results), _classes(results), _fine_print(results)))


def _activity(results: Results) -> str:
    variants = results["variants"]
    shares = ", ".join(f"{name} {100 * variants[name]['on']:.1f} %" for name in _sparse(results))
    return (
        f"Units of the code that are on for a test digit: {shares}; without a penalty, in a net of the same size, "
        f"{100 * variants[PLAIN]['on']:.1f} %. A unit of the KL net counts as on above one half. Top-k holds a digit "
        "to 50 units; lifetime holds a unit to one digit in twenty while the net trains, and to nothing afterwards."
    )


def _longer(results: Results) -> str:
    said: list[str] = []
    for name, sides in results["curves"].items():
        held = sides["validation"]
        lowest = min(range(len(held)), key=held.__getitem__)
        said.append(
            f"{name}: {sides['train'][-1]:.4f} on the digits it was trained on and {held[-1]:.4f} on those held out, "
            f"where the least was {held[lowest]:.4f}, in epoch {lowest + 1} of {len(held)}"
        )
    variants = results["variants"]
    gaps = ", ".join(f"{name} {facts['train_mse']:.5f} and {facts['test_mse']:.5f}" for name, facts in variants.items())
    return (
        "Longer training without overfitting: not as the lecture has it. On 1000 digits, few enough to be learnt by "
        f"heart, the cross-entropy in nats a pixel comes to this. {'. '.join(said)}. Neither curve turns up by much, "
        "and the distance between training and held-out digits is larger with the penalty than without: a net of "
        "1024 units that may use them all learns to copy, and copying holds for digits it never saw. What sparsity "
        "gains is in the features, not in these curves. On 60 000 digits there is little to overfit; squared errors on "
        f"training and test digits: {gaps}."
    )


def _classes(results: Results) -> str:
    errors = {name: f"{found['error']:.2f} %" for name, found in results["probes"].items()}
    best, _ = _best(results)
    counts = results["few"]["labels"]
    few = "; ".join(
        f"{name} " + ", ".join(f"{error:.1f}" for error in found) for name, found in results["few"]["errors"].items()
    )
    return (
        f"Another task: logistic regression names {errors['pixels']} of the test digits wrongly from their pixels, "
        f"{errors['PCA-32']} from 32 principal components, {errors[PLAIN]} from the code without a penalty and "
        f"{errors[best]} from {best}. With {', '.join(str(count) for count in counts)} labels, %: {few}."
    )


def _fine_print(results: Results) -> str:
    variants = results["variants"]
    seconds = ", ".join(f"{name} {facts['seconds']:.0f} ({facts['epochs']} epochs)" for name, facts in variants.items())
    return (
        "The classifier is scikit-learn's. A sixth of the labelled digits chooses the strength of its L2 penalty out "
        "of three, the others are fitted to by at most 60 steps of L-BFGS for each, and features share one scale. "
        f"All nets have {variants[PLAIN]['parameters']} parameters but strokes, which has "
        f"{variants['strokes']['parameters']}, and were fitted from seed 1 on two cores that had other work too. "
        f"Seconds of training: {seconds}."
    )


def _sparse(results: Results) -> list[str]:
    return [name for name in results["variants"] if name != PLAIN]


def _best(results: Results) -> tuple[str, float]:
    """The sparse variant whose code tells the classes best, and its error."""
    error, name = min((results["probes"][name]["error"], name) for name in _sparse(results))
    return name, error


STUDY = Study(
    name="sparsity",
    title="A sparse code larger than its input",
    question=(
        "The code has more units than the input, and a penalty on their activity keeps most of them inactive most of "
        "the time: does such a net train longer without overfitting, and are its features good for another task?"
    ),
    command="hourglass-train fit digits-sparse",
    measure=measure,
    rows=rows,
    draw=draw,
    words=words,
)
