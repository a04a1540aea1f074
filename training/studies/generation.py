"""Variational nets of digits: the statistical model that a plain code lacks, by the same measures and by likelihood."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Generator

from training.data import Items
from training.errors import RecipeError
from training.evaluation.figures import run_in_batches
from training.evaluation.likelihood import SEED, likelihood
from training.loop.batches import as_tensor, to_float
from training.nets import Autoencoder
from training.studies.base.packing import pack, unpack
from training.studies.base.plot_style import new_figure, show_rows
from training.studies.base.study import Results, Row, Study
from training.studies.measures import latent_space
from training.studies.measures.classifier import CONFIDENT, Classifier, get_labels, train_classifier
from training.workspace import PublishedModel, Workspace

PLANES, DEEP = ("digits-2d", "digits-vae-2d"), ("digits", "digits-vae")
"""A plain net and a variational one, of two numbers and of more."""
SAMPLES = 1000
"""Draws of each digit's code, for the likelihood."""
ROWS, COLUMNS, MAP_PICTURES = 6, 12, 10
"""Of the drawn digits, and of the ways between two of them; of the pictures of a plane."""
PUBLISHED = "VAE 89.9, IWAE-50 87.1, VAMP 85.6"


def measure(workspace: Workspace) -> Results:
    """The measures of `plane` for all four nets, the likelihoods of the variational ones, samples, and ways between."""
    data = workspace.data("digits-vae")
    classes, labels = get_labels(data)
    classifier = train_classifier(data.train, classes)
    models = {name: workspace.model(name) for name in (*PLANES, *DEEP)}
    nets = {name: workspace.fit(name).result.net for name in (PLANES[1], DEEP[1])}
    decode = models[DEEP[1]].graphs["decode"]
    return {
        "judged": {name: _latent_metrics(model, classifier, nets.get(name)) for name, model in models.items()},
        "planes": {name: latent_space.map_plane(models[name], classifier, MAP_PICTURES) for name in PLANES},
        "controls": latent_space.controls(classifier, data.test, labels),
        "likelihood": {name: _likelihood(models[name], net) for name, net in nets.items()},
        "samples": pack(
            run_in_batches(decode, latent_space.standard_normal(_code_size(models[DEEP[1]])).sample(ROWS * COLUMNS))
        ),
        "ways": pack(_interpolations(models[DEEP[1]])),
    }


def _latent_metrics(model: PublishedModel, classifier: Classifier, net: Autoencoder | None) -> Results:
    """By the prior a net was held to, if it was; else by the normal distribution that fits its codes best."""
    codes = run_in_batches(model.graphs["encode"], model.data.test)
    prior = latent_space.fit_normal(codes) if net is None else latent_space.standard_normal(_code_size(model))
    drawn = codes if net is None else _sample_codes(net, model.data.test)
    _, labels = get_labels(model.data)
    return latent_space.latent_metrics(model.graphs, model.data.test, labels, classifier, prior, drawn)


def _likelihood(model: PublishedModel, net: Autoencoder) -> Results:
    found = likelihood(net, model.data.test, SAMPLES)
    made = model.card.made
    return {
        "nll": found.nll,
        "elbo": found.elbo,
        "items": found.items,
        "samples": found.samples,
        "parameters": model.card.parameters,
        "seconds": made.seconds,
        "seed": made.seed,
    }


@torch.no_grad()
def _sample_codes(net: Autoencoder, items: Items) -> NDArray[np.float32]:
    """A code of each item, drawn of its distribution."""
    made = net.forward_with_code(to_float(as_tensor(items)), Generator().manual_seed(SEED))
    if made.samples is None:
        raise RecipeError("a prior needs codes that are distributions: net.family = 'variational'")
    return made.samples[: len(items)].numpy()


def _interpolations(model: PublishedModel) -> NDArray[Any]:
    """Test digits, what lies between the codes of two of them in equal steps, and the other: rows,columns,H,W,C."""
    ends = model.data.test[: 2 * ROWS]
    codes = run_in_batches(model.graphs["encode"], ends)
    steps = np.linspace(0, 1, COLUMNS - 2)[:, np.newaxis]
    found: list[NDArray[Any]] = []
    for number in range(0, 2 * ROWS, 2):
        between = ((1 - steps) * codes[number] + steps * codes[number + 1]).astype(np.float32)
        found.append(np.concatenate([ends[number : number + 1], model.graphs["decode"](between), ends[[number + 1]]]))
    return np.stack(found)


def rows(results: Results) -> Sequence[Row]:
    found: list[Row] = []
    for name, (bar, stretch) in ((DEEP[1], (88.0, 86.0)), (PLANES[1], (None, None))):
        each = results["likelihood"][name]
        facts = f"{each['parameters']:,} weights, {each['seconds']:.0f} s, seed {each['seed']}"
        what = f"{name} ({facts}): NLL of {each['items']:,} test digits, {each['samples']} draws each, nats"
        reference = f"{PUBLISHED}; its own ELBO: {each['elbo']:.2f}"
        found.append(Row(what, each["nll"], reference, "pythae's reproductions", bar, stretch))
    plain, ours = (results["planes"][name] for name in PLANES)
    found += [
        Row(f"{PLANES[1]}: {what}", ours[key], f"{PLANES[0]}: {plain[key]:.3f}")
        for key, what in (
            ("gaps", "gaps, share of the plane that decodes to nothing recognised"),
            ("crowded", "gaps, share of the plane that holds half of the training digits"),
        )
    ]
    for before, after in (PLANES, DEEP):
        a, b = (results["judged"][name] for name in (before, after))
        words = {
            "purity": ("separability, neighbours of the same class", ""),
            "distance": ("distance from its prior, in standard deviations", f"; true draws: {b['floor']:.3f}"),
            "drawn": ("share of its prior's draws that are recognised", f"; reconstructions: {b['reconstructed']:.3f}"),
            "rarest": ("share of the rarest class among those", "; of ten equal classes: 0.100"),
        }
        found += [
            Row(f"{after}: {what}", b[key], f"{before}: {a[key]:.3f}{more}") for key, (what, more) in words.items()
        ]
    return found


def plot(results: Results) -> Mapping[str, Figure]:
    planes = new_figure("Codes of test digits, and the class each place decodes to (white: none)", width=10, height=8.6)
    grid = planes.subplots(2, 2)
    for (codes, plane), name in zip(grid, PLANES, strict=True):
        surveyed = results["planes"][name]
        latent_space.show_codes(codes, unpack(surveyed["codes"]), unpack(surveyed["labels"]), surveyed["box"])
        latent_space.show_map(plane, surveyed)
        latent_space.name_classes(plane)
        codes.set_title(f"{name}: codes", fontsize=10)
        plane.set_title(f"{name}: {1 - surveyed['gaps']:.0%} of the plane recognised (p ≥ {CONFIDENT})", fontsize=10)
    pictures = new_figure("What the two planes decode to, each picture where its code lies", width=10, height=4.8)
    for axes, name in zip(pictures.subplots(1, 2), PLANES, strict=True):
        latent_space.show_pictures(axes, results["planes"][name])
        axes.set_title(name, fontsize=10)
    samples = new_figure("Draws of 50 standard normal numbers, decoded by digits-vae", width=8, height=4.9)
    drawn = unpack(results["samples"])
    show_rows(samples.subplots(), list(drawn.reshape(ROWS, COLUMNS, *drawn.shape[1:])), [""] * ROWS)
    ways = new_figure(
        "From one test digit (first) to another (last) through the codes of digits-vae", width=8, height=4.9
    )
    show_rows(ways.subplots(), list(unpack(results["ways"])), [""] * ROWS)
    return {"planes": planes, "pictures": pictures, "samples": samples, "ways": ways}


def summary(results: Results) -> str:
    ours, judged = results["likelihood"][DEEP[1]], results["judged"]
    plain, flat = (results["planes"][name] for name in PLANES)
    a, b, c, d = (judged[name] for name in (*PLANES, *DEEP))
    verdict = (
        "under 86" if ours["nll"] <= 86 else "under the bar of 88, not under 86" if ours["nll"] <= 88 else "over 88"
    )
    return (
        "A prior for the code, and a net that is held to it. A variational net encodes a digit not as a point but as a "
        "normal distribution, and all of them together are kept near the standard one: any draw of 50 normal numbers "
        f"is a code that its decoder has learnt. {d['drawn']:.0%} of such draws decode to something that a strict "
        f"classifier recognises ({d['reconstructed']:.0%} of reconstructed test digits), and every class comes up (the "
        f"rarest: {d['rarest']:.1%}). Of the draws of the normal distribution that fits the 32 numbers of the plain "
        f"`digits` best it is {c['drawn']:.0%}.\n\n"
        f"On the plane, where it can be seen: codes lie {b['distance']:.2f} standard deviations from the standard "
        f"normal itself; those of the plain net {a['distance']:.2f} from the normal that fits them best "
        f"({b['floor']:.3f} for true draws). Half of the digits take {flat['crowded']:.1%} of the plane instead of "
        f"{plain['crowded']:.1%}, and the rarest class is {b['rarest']:.1%} of the recognised draws instead of "
        f"{a['rarest']:.1%}. What a prior does not do: {flat['gaps']:.0%} of its plane decode to nothing recognised, "
        f"{plain['gaps']:.0%} of the plain one, since the classes lie close together and every border between two of "
        f"them is a blend, where the plain net fills far space with one class; {b['drawn']:.0%} of its draws are "
        f"recognised and {a['drawn']:.0%} of the plain net's, of reconstructions {b['reconstructed']:.0%} and "
        f"{a['reconstructed']:.0%}. Nor does it part the classes: {b['purity']:.0%} of a code's neighbours are of its "
        f"class, {a['purity']:.0%} in the plain plane.\n\n"
        "A model of the pictures can be asked how likely a picture is, which no plain autoencoder can answer: "
        f"{ours['nll']:.2f} nats a test digit ({ours['samples']} importance-weighted draws; its ELBO says "
        f"{ours['elbo']:.2f}), {verdict}; published are {PUBLISHED}. With two numbers it is "
        f"{results['likelihood'][PLANES[1]]['nll']:.1f}. Pixels were made black or white once, each with its grey as "
        f"the probability of white (seed {SEED}), as the references do; the arithmetic is float32, the weights are the "
        "net's, which was fitted for half an hour on a crowded core.\n\n"
        "Between two codes lie mostly digits, some of them blends; and what is decoded is the mean of all digits that "
        "the code may stand for, which is blurred where the code says little."
    )


def _code_size(model: PublishedModel) -> int:
    return int(np.prod([side or 1 for side in model.card.code.shape]))


STUDY = Study(
    name="generation",
    title="A statistical model of digits",
    question="No statistical model for arbitrary input: what does it take to decode any code, and to draw new digits?",
    command="hourglass-train fit digits-vae",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
