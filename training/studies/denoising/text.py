"""What the study of denoising says of its stored results: the report's rows, and the answer in words."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.studies.base.study import Results, Row

AFFINE = "affine map for this kind"


def rows(results: Results) -> Sequence[Row]:
    served, beside = results["served"], results["served"]["baselines"]
    linear = f"affine LMMSE: {beside['lmmse (affine)']:.2f}; calibrated BM3D: 17.1"
    cited = "LMMSE measured here; BM3D by us earlier, on 100 pictures"
    cost = f"{served['parameters']} parameters, {served['seconds']:.0f} s of training, seed {served['seed']}"
    return (
        Row("gaussian 0.5, cut: PSNR as served, dB", served["psnr"], linear, cited, 20.0, 20.5, higher_is_better=True),
        Row("parameters of the served net", served["parameters"], "the bar: 100 000", "counted", 100_000),
        *(_time_row(size, clocks, cost) for size, clocks in served["milliseconds"].items()),
        *(_own_corruption_row(results, name) for name in _corruption_names(results) if name != "gaussian, cut"),
        *(_dense_row(results, tested) for tested in ("nothing", "masking")),
    )


def _time_row(size: str, clocks: Mapping[str, float], cost: str) -> Row:
    spread = f"rounds from {clocks['least']:.3f} to {clocks['most']:.3f}; by the wall clock {clocks['wall']:.3f}"
    return Row(f"ms of one core a picture, batch of {size} ({spread})", clocks["own"], cost, "this net", 0.2)


def _own_corruption_row(results: Results, name: str) -> Row:
    reference = (
        f"affine LMMSE: {_matrix_psnr(results, AFFINE, name):.2f}; no net: {_matrix_psnr(results, 'no net', name):.2f}"
    )
    return Row(
        f"{name}: PSNR of a net trained on it, dB", _matrix_psnr(results, name, name), reference, higher_is_better=True
    )


def _dense_row(results: Results, tested: str) -> Row:
    what = (
        f"{'clean' if tested == 'nothing' else 'half masked'} digits through a dense net trained on masking: PSNR, dB"
    )
    reference = f"trained on dropout: {_inputs_psnr(results, 'dropout', tested):.2f}"
    return Row(what, _inputs_psnr(results, "masking", tested), reference, higher_is_better=True)


def _corruption_names(results: Results) -> list[str]:
    return [name for name in results["matrix"]["tested"] if name != "clean"]


def _matrix_psnr(results: Results, trained: str, tested: str) -> float:
    return results["matrix"]["psnr"][trained][results["matrix"]["tested"].index(tested)]


def _inputs_psnr(results: Results, trained: str, tested: str) -> float:
    return results["inputs"]["psnr"][trained][results["inputs"]["tested"].index(tested)]


def summary(results: Results) -> str:
    return "\n\n".join(
        tell(results) for tell in (_served_paragraph, _matrix_paragraph, _dropout_paragraph, _levels_paragraph)
    )


def _served_paragraph(results: Results) -> str:
    served, beside = results["served"], results["served"]["baselines"]
    uncut, cut, short = "gaussian, uncut", "gaussian, cut", results["fits"]["gaussian, uncut"]["epochs"]
    alone, batch = served["milliseconds"]["1"], served["milliseconds"]["32"]
    return (
        "What is learnt is what digits look like. Under noise of 0.5, cut to 0..1 and stored in 8 bits, the served net "
        f"restores {served['psnr']:.2f} dB; the best affine map {beside['lmmse (affine)']:.2f}, the median of 3x3 "
        f"pixels {beside['median 3x3']:.2f}, no net at all {beside['noisy input']:.2f}. On one core of a busy machine "
        f"a picture takes it {batch['own']:.3f} ms in a batch of 32; alone {alone['own']:.3f}, the slowest round "
        f"{alone['most']:.3f}. As the lecture writes the noise, uncut, a net that saw {short} epochs of it makes "
        f"{_matrix_psnr(results, uncut, uncut):.2f} dB of it; one that saw as many of the cut noise makes "
        f"{_matrix_psnr(results, cut, cut):.2f} of the cut. Crosswise: trained on uncut and given cut "
        f"{_matrix_psnr(results, uncut, cut):.2f}, trained on cut and given uncut "
        f"{_matrix_psnr(results, cut, uncut):.2f}. A service is given pictures, so the published net is trained on the "
        "cut ones."
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
        f"The matrix: each net is {min(gain):.1f} to {max(gain):.1f} dB ahead of the affine map fitted to its "
        "corruption, and the one trained on clean digits only copies. Noise on every pixel prepares for other "
        f"noise on every pixel: salt and pepper comes back at {cell('gaussian, cut', 'salt and pepper')} dB from a net "
        f"that saw Gaussian noise alone ({cell('salt and pepper', 'salt and pepper')} from its own). What hides is "
        f"another matter: half masked digits get {cell('masking', 'masking')} from their own net and "
        f"{cell('gaussian, cut', 'masking')} from that one, and Gaussian noise gets {cell('masking', 'gaussian, cut')} "
        "from a net that has learnt to believe whatever is not black. One net for all, trained as long "
        f"({epochs} epochs, where the published one had {results['served']['epochs']}), is behind the nets of one "
        f"corruption each by {np.mean(lost):.1f} dB on average and {max(lost):.1f} at most."
    )


def _dropout_paragraph(results: Results) -> str:
    def cell(trained: str, tested: str) -> str:
        return f"{_inputs_psnr(results, trained, tested):.1f}"

    return (
        "Is masking the same as dropout? On the inputs, but for one factor. Whether exactly half is lost or each value "
        "by chance does not matter: trained on either, and given exactly half, a dense net (784-500-784) makes "
        f"{cell('masking', 'masking')} and {cell('dropout, unscaled', 'masking')} dB. The scale does: dropout doubles "
        "what it leaves, so that whole inputs are to the net as bright as those it was trained on. On clean digits the "
        f"net trained on dropout makes {cell('dropout', 'nothing')} dB and the one trained on masking "
        f"{cell('masking', 'nothing')}, but {cell('masking', 'nothing, halved')} where it is given half their values. "
        f"On half masked digits masking makes {cell('masking', 'masking')} and dropout {cell('dropout', 'masking')}, "
        f"but {cell('dropout', 'masking, doubled')} where what is left is doubled. The rest is purpose: dropout may "
        "stand at any layer and is off when the net is used; masking stands at the input because restoring it is the "
        "task, with the clean input as the target."
    )


def _levels_paragraph(results: Results) -> str:
    sigma, found = results["levels"]["sigma"], results["levels"]["psnr"]
    net, affine, median, none = (
        found[name] for name in ("published net, trained at 0.5", "affine map for 0.5", "median 3x3", "no net")
    )
    low, high = sigma[0], sigma[-1]
    clean = _matrix_psnr(results, "gaussian, cut (published)", "clean")
    return (
        "Tied to one level, a net takes away what it expects, whether or not it is there. At "
        f"{low} it makes {net[0]:.1f} dB of pictures that have {none[0]:.1f} untouched (the affine map, tied in the "
        f"same way, {affine[0]:.1f}; the median {median[0]:.1f}), and of clean ones, which need nothing, no more than "
        f"{clean:.1f}. At {high} it makes {net[-1]:.1f} and the affine map {affine[-1]:.1f}. What nets trained at "
        "those levels would make is not measured here."
    )
