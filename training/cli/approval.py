"""Prints the metrics and the verdict of a model before it is published, and stops one that is of no use."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.cli.display import print_metrics, print_verdict
from training.data import Dataset
from training.errors import NotBetter
from training.evaluation.metrics import Evaluation
from training.evaluation.verdict import judge
from training.nets import Autoencoder
from training.recipe import Recipe


def approval(
    recipe: Recipe,
    data: Dataset,
    net: Autoencoder,
    log: Sequence[Mapping[str, Any]],
    source: str,
    *,
    anyway: bool,
) -> Callable[[Evaluation], None]:
    """Return the check of a model before it is published.

    Args:
        recipe: the complete recipe.
        data: its data.
        net: the fitted net.
        log: the records of the run.
        source: the name or path of the recipe on the command line.
        anyway: whether a model of no use is published, too.

    Returns:
        A function that prints the metrics and the verdict, and raises NotBetter if the model is of no use.
    """

    def approve(measured: Evaluation) -> None:
        print_metrics(recipe.model.name, measured)
        findings = judge(recipe, data, net, measured, log)
        print_verdict(findings)
        if any(finding.blocking for finding in findings) and not anyway:
            raise NotBetter(
                f"{recipe.model.name} is not published, because for some input an answer without a model is better; "
                f"its weights are kept: to publish them all the same, hourglass-train export {source} --publish-anyway"
            )

    return approve
