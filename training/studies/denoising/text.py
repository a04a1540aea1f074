"""Rows and summary of the study `denoising`, from its results."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.studies.base.study import Results, Row

AFFINE = "affine map for this kind"
LABELS = {"gaussian, uncut": "Gaussian noise 0.5, unclipped"}
"""Labels of corruptions whose names in the results are not clear by themselves."""


def rows(results: Results) -> Sequence[Row]:
    """Return the PSNRs, the number of parameters and the times."""
    served, baselines = results["served"], results["served"]["baselines"]
    reference = f"affine LMMSE: {baselines['lmmse (affine)']:.2f}; calibrated BM3D: 17.1"
    source = "LMMSE measured here; BM3D measured earlier on 100 pictures"
    cost = f"{served['parameters']} parameters, {served['seconds']:.0f} s of training, seed {served['seed']}"
    return (
        Row(
            "Gaussian noise 0.5, clipped: PSNR as served, dB",
            served["psnr"],
            reference,
            source,
            20.0,
            20.5,
            higher_is_better=True,
        ),
        Row("parameters of the served network", served["parameters"], "target: 100 000", "counted", 100_000),
        *(_time_row(size, clocks, cost) for size, clocks in served["milliseconds"].items()),
        *(_own_corruption_row(results, name) for name in _corruption_names(results) if name != "gaussian, cut"),
        *(_dense_row(results, tested) for tested in ("nothing", "masking")),
    )


def _time_row(size: str, clocks: Mapping[str, float], cost: str) -> Row:
    spread = f"rounds from {clocks['least']:.3f} to {clocks['most']:.3f}; by the wall clock {clocks['wall']:.3f}"
    return Row(f"CPU ms per picture, batch of {size} ({spread})", clocks["own"], cost, "this network", 0.2)


def _own_corruption_row(results: Results, name: str) -> Row:
    reference = (
        f"affine LMMSE: {_matrix_psnr(results, AFFINE, name):.2f}; "
        f"corrupted input: {_matrix_psnr(results, 'no net', name):.2f}"
    )
    label = f"{LABELS.get(name, name)}: PSNR of a network trained on it, dB"
    return Row(label, _matrix_psnr(results, name, name), reference, higher_is_better=True)


def _dense_row(results: Results, tested: str) -> Row:
    kind = "clean" if tested == "nothing" else "half masked"
    label = f"{kind} digits, dense network trained on masking: PSNR, dB"
    reference = f"trained on dropout: {_inputs_psnr(results, 'dropout', tested):.2f}"
    return Row(label, _inputs_psnr(results, "masking", tested), reference, higher_is_better=True)


def _corruption_names(results: Results) -> list[str]:
    return [name for name in results["matrix"]["tested"] if name != "clean"]


def _matrix_psnr(results: Results, trained: str, tested: str) -> float:
    return results["matrix"]["psnr"][trained][results["matrix"]["tested"].index(tested)]


def _inputs_psnr(results: Results, trained: str, tested: str) -> float:
    return results["inputs"]["psnr"][trained][results["inputs"]["tested"].index(tested)]


def summary(results: Results) -> str:
    """Return the answer as text."""
    paragraphs = (_served_paragraph, _matrix_paragraph, _dropout_paragraph, _levels_paragraph)
    return "\n\n".join(paragraph(results) for paragraph in paragraphs)


def _served_paragraph(results: Results) -> str:
    served, baselines = results["served"], results["served"]["baselines"]
    uncut, cut, short = "gaussian, uncut", "gaussian, cut", results["fits"]["gaussian, uncut"]["epochs"]
    alone, batch = served["milliseconds"]["1"], served["milliseconds"]["32"]
    return (
        "It learns what digits look like. With Gaussian noise of standard deviation 0.5, clipped to 0..1 and rounded "
        f"to 8 bits, the served network reaches {served['psnr']:.2f} dB, the best affine map "
        f"{baselines['lmmse (affine)']:.2f} dB, the median of 3x3 pixels {baselines['median 3x3']:.2f} dB; the noisy "
        f"pictures themselves have {baselines['noisy input']:.2f} dB. On one core of a busy machine, a picture takes "
        f"{batch['own']:.3f} ms in a batch of 32 and {alone['own']:.3f} ms by itself, {alone['most']:.3f} ms in the "
        f"slowest round. With unclipped noise, as in the lecture, a network trained for {short} epochs reaches "
        f"{_matrix_psnr(results, uncut, uncut):.2f} dB; one trained as long on clipped noise reaches "
        f"{_matrix_psnr(results, cut, cut):.2f} dB on clipped noise. Trained on unclipped and tested on clipped noise "
        f"it is {_matrix_psnr(results, uncut, cut):.2f} dB, the reverse {_matrix_psnr(results, cut, uncut):.2f} dB. "
        "The published network is trained on clipped noise, since a service receives pictures in 8 bits."
    )


def _matrix_paragraph(results: Results) -> str:
    def cell(trained: str, tested: str) -> str:
        return f"{_matrix_psnr(results, trained, tested):.1f}"

    gain = [
        _matrix_psnr(results, name, name) - _matrix_psnr(results, AFFINE, name) for name in _corruption_names(results)
    ]
    lost = [
        _matrix_psnr(results, name, name) - _matrix_psnr(results, "mixture", name)
        for name in _corruption_names(results)
    ]
    epochs = results["fits"]["mixture"]["epochs"]
    return (
        f"The matrix: each network is {min(gain):.1f} to {max(gain):.1f} dB better than the affine map fitted to its "
        "corruption; the network trained on clean digits only copies. Training on one kind of noise generalises to "
        "another if both affect every pixel: a network trained on Gaussian noise restores salt and pepper with "
        f"{cell('gaussian, cut', 'salt and pepper')} dB, compared with "
        f"{cell('salt and pepper', 'salt and pepper')} dB by the network trained on it. Masking is different: half "
        f"masked digits are restored with {cell('masking', 'masking')} dB by the network trained on masking and "
        f"{cell('gaussian, cut', 'masking')} dB by the one trained on Gaussian noise. Gaussian noise is restored with "
        f"{cell('masking', 'gaussian, cut')} dB by the network trained on masking, which has learned that every pixel "
        f"that is not black is correct. One network for all corruptions, trained as long ({epochs} epochs; the "
        f"published one {results['served']['epochs']}), is {np.mean(lost):.1f} dB worse than the specialised networks "
        f"on average and {max(lost):.1f} dB at most."
    )


def _dropout_paragraph(results: Results) -> str:
    def cell(trained: str, tested: str) -> str:
        return f"{_inputs_psnr(results, trained, tested):.1f}"

    return (
        "Is masking the same as dropout? Applied to the inputs, they only differ by a factor. Whether exactly half of "
        "the values is masked or each value at random does not matter: trained on either and tested on exactly half, a "
        f"dense network (784-500-784) reaches {cell('masking', 'masking')} and "
        f"{cell('dropout, unscaled', 'masking')} dB. The scale matters: dropout doubles the remaining values, so that "
        "complete inputs are as bright on average as those in training. On clean digits, the network trained on "
        f"dropout reaches {cell('dropout', 'nothing')} dB and the one trained on masking {cell('masking', 'nothing')} "
        f"dB, or {cell('masking', 'nothing, halved')} dB if their values are halved. On half masked digits, the one "
        f"trained on masking reaches {cell('masking', 'masking')} dB and the one trained on dropout "
        f"{cell('dropout', 'masking')} dB, or {cell('dropout', 'masking, doubled')} dB if the remaining values are "
        "doubled. Their purposes differ: dropout regularises any layer and is switched off after training; masking "
        "defines the task, which is to restore the clean input."
    )


def _levels_paragraph(results: Results) -> str:
    sigma, psnrs = results["levels"]["sigma"], results["levels"]["psnr"]
    net, affine, median, none = (
        psnrs[name] for name in ("published net, trained at 0.5", "affine map for 0.5", "median 3x3", "no net")
    )
    low, high = sigma[0], sigma[-1]
    clean = _matrix_psnr(results, "gaussian, cut (published)", "clean")
    return (
        "A network trained at one noise level removes that much noise at any level. At a standard deviation of "
        f"{low}, its output has {net[0]:.1f} dB, and its input {none[0]:.1f} dB (the affine map for the same level: "
        f"{affine[0]:.1f} dB; the median: {median[0]:.1f} dB). On clean pictures it reaches only {clean:.1f} dB. At "
        f"{high} it reaches {net[-1]:.1f} dB and the affine map {affine[-1]:.1f} dB. Networks trained at these levels "
        "were not measured."
    )
