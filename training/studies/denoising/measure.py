"""Measurement of the study `denoising`.

Denoising autoencoders (Vincent et al., ICML 2008) are tested on the corruption they were trained on, on others, and at
other noise levels; masking of the input is compared with dropout (Srivastava et al., JMLR 2014).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from training.evaluation import baselines, metrics
from training.evaluation.metrics import to_uint8
from training.export.publish import WEIGHTS_FILE, latest_version
from training.loop.batches import as_tensor, to_float
from training.loop.checkpoint import read_weights
from training.nets import Autoencoder
from training.studies.base.packing import pack
from training.studies.base.study import Results, Study
from training.studies.denoising.figures import plot
from training.studies.denoising.text import rows, summary
from training.studies.measures.restoration import (
    Method,
    affine_map,
    classical,
    corrupt_pictures,
    milliseconds,
    psnr,
    restore,
)
from training.workspace import PublishedModel, TrainedModel, Workspace

KINDS = {
    "clean": {"kind": "none"},
    "gaussian, cut": {"kind": "gaussian", "sigma": 0.5},
    "gaussian, uncut": {"kind": "gaussian", "sigma": 0.5, "clip": False},
    "masking": {"kind": "masking", "fraction": 0.5},
    "salt and pepper": {"kind": "salt-and-pepper", "probability": 0.3},
    "occlusion": {"kind": "occlusion", "fraction": 0.25},
}
"""Corruptions of training and test, as in the `[corruption]` table of a recipe."""
LEVELS = tuple(round(0.1 * number, 1) for number in range(1, 9))
"""Standard deviations of the noise, for pixels in 0..1."""
MIXTURE = {"kind": "mixture", "of": list(KINDS.values())}
SHORT = ("optimizer.epochs=3", "optimizer.precision=bfloat16", 'model.operations=["reconstruct"]')
INPUTS = {
    "nothing": {"kind": "none"},
    "masking": {"kind": "masking", "fraction": 0.5},
    "dropout, unscaled": {"kind": "dropout", "probability": 0.5, "scale": False},
    "dropout": {"kind": "dropout", "probability": 0.5},
}
DENSE = ("net.code=500", "net.code_activation=relu", "optimizer.epochs=8", "optimizer.precision=bfloat16")
PICTURE_SLICE = slice(0, 8)
BATCH_SIZES = (1, 32)
"""Batch sizes of the timings."""


def measure(workspace: Workspace) -> Results:
    """Measure the published model, and networks trained for a short time on each corruption."""
    served = workspace.model("digits-denoise")
    published = _load_published_net(workspace, served)
    trained = {name: fit_conv(workspace, name, kind) for name, kind in (KINDS | {"mixture": MIXTURE}).items()}
    simple = {name: fit_dense(workspace, name, kind) for name, kind in INPUTS.items()}
    train, test = (to_float(as_tensor(items)) for items in (served.data.train, served.data.test))
    nets = {"gaussian, cut (published)": published} | {name: fit.result.net for name, fit in trained.items()}
    affine = {name: affine_map(kind, train) for name, kind in KINDS.items()}
    return {
        "served": _published_results(served, published),
        "fits": {name: _fit_facts(fit) for name, fit in trained.items()},
        "dense_fits": {name: _fit_facts(fit) for name, fit in simple.items()},
        "matrix": _matrix(nets, affine, test),
        "levels": _levels(published, affine["gaussian, cut"], test),
        "inputs": _inputs({name: fit.result.net for name, fit in simple.items()}, test),
        "pictures": _pictures({name: nets[name] for name in KINDS if name != "clean"}, test[PICTURE_SLICE]),
    }


def fit_conv(workspace: Workspace, name: str, kind: Mapping[str, Any]) -> TrainedModel:
    """Train the network of `digits-denoise` for a short time on the corruption `kind`."""
    return workspace.fit("digits-denoise", f"corruption={as_toml(kind)}", *SHORT, variant=_variant_name(name))


def fit_dense(workspace: Workspace, name: str, kind: Mapping[str, Any]) -> TrainedModel:
    """Train a dense network on inputs with the corruption `kind`."""
    return workspace.fit("digits", f"corruption={as_toml(kind)}", *DENSE, variant=f"inputs-{_variant_name(name)}")


def _variant_name(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def as_toml(value: Any) -> str:
    """Format a value as TOML, with inline tables."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {as_toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(as_toml(inner) for inner in value)}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _matrix(nets: Mapping[str, Autoencoder], affine: Mapping[str, Method], test: Tensor) -> Results:
    """Return the PSNRs by corruption in training (rows) and in the test (columns), and those of two baselines."""
    table: dict[str, list[float]] = {name: [] for name in (*nets, "no net", "affine map for this kind")}
    for name, kind in KINDS.items():
        noisy = corrupt_pictures(kind, test)
        for trained, net in nets.items():
            table[trained].append(psnr(restore(net, noisy), test))
        table["no net"].append(psnr(noisy, test))
        table["affine map for this kind"].append(psnr(affine[name](noisy), test))
    return {"tested": list(KINDS), "psnr": table}


def _levels(net: Autoencoder, affine: Method, test: Tensor) -> Results:
    """Return the PSNRs of all methods at each level of the noise."""
    height, width = test.shape[2:]
    methods: dict[str, Method] = {
        "published net, trained at 0.5": lambda noisy: restore(net, noisy),
        "affine map for 0.5": affine,
        "median 3x3": classical(baselines.median(height, width, 1)),
        "no net": lambda noisy: noisy,
    }
    psnrs: dict[str, list[float]] = {name: [] for name in methods}
    for level in LEVELS:
        noisy = corrupt_pictures({"kind": "gaussian", "sigma": level}, test)
        for name, method in methods.items():
            psnrs[name].append(psnr(method(noisy), test))
    return {"sigma": list(LEVELS), "psnr": psnrs}


def _inputs(nets: Mapping[str, Autoencoder], test: Tensor) -> Results:
    """Return the PSNRs of the dense networks (rows) by kind of test input (columns)."""
    inputs = {name: corrupt_pictures(kind, test) for name, kind in INPUTS.items()}
    inputs |= {"masking, doubled": 2 * inputs["masking"], "nothing, halved": 0.5 * inputs["nothing"]}
    table = {name: [psnr(restore(net, some), test) for some in inputs.values()] for name, net in nets.items()}
    return {"tested": list(inputs), "psnr": table}


def _pictures(nets: Mapping[str, Autoencoder], clean: Tensor) -> Results:
    """Return test digits, corrupted in each way, and restored by the network trained on that corruption."""
    shown: dict[str, Any] = {"clean": _pack_pictures(clean)}
    for name, net in nets.items():
        noisy = corrupt_pictures(KINDS[name], clean)
        shown[name], shown[f"{name}: answer"] = _pack_pictures(noisy), _pack_pictures(restore(net, noisy))
    return shown


def _pack_pictures(pictures: Tensor) -> dict[str, Any]:
    return pack(to_uint8(pictures.movedim(1, 3).numpy()))


def _load_published_net(workspace: Workspace, model: PublishedModel) -> Autoencoder:
    """Return the published network in PyTorch, which takes float pictures; its graph takes uint8."""
    channels_last = model.data.test.shape[1:]
    net = model.recipe.net.build((channels_last[2], *channels_last[:2]))
    net.load_state_dict(read_weights(latest_version(model.recipe, workspace.models) / WEIGHTS_FILE))
    return net.eval()


def _published_results(model: PublishedModel, net: Autoencoder) -> Results:
    """Evaluate the published model as served, with its baselines and its time."""
    evaluation = metrics.evaluate(model.recipe, model.data, net, model.graphs)
    return {
        "psnr": evaluation.metrics["denoise_psnr"],
        "baselines": {name: baseline["denoise_psnr"] for name, baseline in evaluation.baselines.items()},
        "parameters": model.card.parameters,
        "seconds": model.card.made.seconds,
        "seed": model.card.made.seed,
        "epochs": model.recipe.optimizer.epochs,
        "milliseconds": {
            str(size): milliseconds(model.graphs["denoise"], model.data.test[:size]) for size in BATCH_SIZES
        },
    }


def _fit_facts(trained: TrainedModel) -> Results:
    return {
        "parameters": trained.result.net.parameter_count(),
        "seconds": round(trained.result.seconds, 1),
        "epochs": trained.recipe.optimizer.epochs,
        "seed": trained.recipe.optimizer.seed,
    }


STUDY = Study(
    name="denoising",
    title="Denoising autoencoders",
    question="What does a network learn that restores corrupted inputs, and is masking the same as dropout?",
    command="hourglass-train fit digits-denoise --set model.name=digits-unmask "
    "--set \"corruption={kind='masking', fraction=0.5}\"",
    measure=measure,
    rows=rows,
    plot=plot,
    summary=summary,
)
