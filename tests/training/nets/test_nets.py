"""Properties of every family in NETS; a new family is included automatically."""

from typing import Any, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Generator, Tensor

from service.runtime.session import Session
from service.runtime.tensors import max_difference
from training.errors import RecipeError
from training.export.onnx_graph import ExportModule, export_onnx
from training.nets import NETS, Autoencoder, NetSection, Operation, Shape
from training.nets.base import ACTIVATIONS, OPERATIONS, Activation
from training.nets.compressive import Compressive, CompressiveSection, FactorizedDensity
from training.nets.conv import Block, ConvSection, pixel_shuffle, pixel_unshuffle
from training.nets.dense import DenseSection
from training.nets.sparsity import lifetime_sparsity, top_k
from training.nets.variational import Variational, VariationalSection

PICTURE, VECTOR = (1, 12, 10), (6,)


def smallest(family: str) -> NetSection:
    """Return the section of a family with its required fields only: 4 for a number, [4, 6] for a list."""
    fields = NETS[family].model_fields.items()
    needed = {name: [4, 6] if get_origin(field.annotation) else 4 for name, field in fields if field.is_required()}
    return NETS[family].model_validate({"family": family, **needed})


SECTIONS = {family: smallest(family) for family in NETS} | {
    "dense deep": DenseSection(code=3, hidden=[9, 7], activation="gelu", code_activation="relu"),
    "dense linear output": DenseSection(code=3, output="linear"),
    "dense strongest": DenseSection(code=20, top_k=5, code_activation="relu"),
    "dense lifetime": DenseSection(code=20, lifetime_sparsity=0.2, code_activation="relu"),
    "conv skips": ConvSection(widths=[4, 6, 8], code=3, skips=True),
    "conv any size": ConvSection(widths=[4, 6], code=3, skips=True, any_size=True),
    "conv residual": ConvSection(
        widths=[4, 6], code=3, blocks=[[0, 1], [2, 1]], skips=True, any_size=True, residual=True, output="linear"
    ),
    "conv one level": ConvSection(widths=[6], code=2, unshuffle=1, blocks=2),
}
every_section = pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)


def net_of(section: NetSection, shape: Shape = PICTURE) -> Autoencoder:
    """Return a net with seeded random weights, all different from their initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = section.build(shape)
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(torch.randn_like(weight) * 0.05)
    return net


def items(count: int, shape: Shape = PICTURE) -> Tensor:
    return torch.rand(count, *shape, generator=Generator().manual_seed(count))


def test_net_names_equal_recipe_families() -> None:
    for family, section in NETS.items():
        assert section.model_fields["family"].default == family
    assert set(Activation.__args__) == set(ACTIVATIONS)


@every_section
def test_output_shapes_equal_declared_shapes(section: NetSection) -> None:
    net = net_of(section).eval()
    forward = net.forward_with_code(items(3))
    assert forward.output.shape == (3, *PICTURE)
    stated = [
        actual if declared is None else declared
        for actual, declared in zip(forward.code.shape[1:], net.code_shape, strict=True)
    ]
    assert list(forward.code.shape) == [3, *stated]
    if "decode" in section.operations:
        assert torch.equal(net.decode(net.encode(items(3))), net(items(3)))


@every_section
def test_all_weights_get_gradients(section: NetSection) -> None:
    net = net_of(section)
    forward = net.forward_with_code(items(4))
    (forward.output.square().sum() + (0 if forward.code_nll is None else forward.code_nll.sum())).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())


@every_section
def test_evaluation_is_per_item_and_deterministic(section: NetSection) -> None:
    net = net_of(section).eval()
    state = torch.get_rng_state()
    together, alone = net(items(5)), torch.cat([net(item[None]) for item in items(5)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


@every_section
def test_net_can_overfit_one_batch(section: NetSection) -> None:
    net, batch = net_of(section), items(2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(150):
        loss = (net.activate_output(net(batch)) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * batch.var().item()


@every_section
def test_weights_round_trip_through_a_file(section: NetSection) -> None:
    net = net_of(section).eval()  # in training, items may interact and buffers may change
    stored = save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    other = section.build(PICTURE).eval()
    assert not torch.equal(other(items(2)), net(items(2)))
    other.load_state_dict(load(stored))
    assert torch.equal(other(items(2)), net(items(2)))


# Reconstruct of every variant, encode and decode of every family. Denoise differs from reconstruct by name only.
HALVES: tuple[Operation, ...] = ("encode", "decode")
CASES: list[tuple[str, Operation]] = [
    *((name, "reconstruct") for name in SECTIONS),
    *((name, half) for name in NETS for half in HALVES if half in SECTIONS[name].operations),
]


@pytest.mark.parametrize(("name", "operation"), CASES)
def test_exported_graph_equals_the_net(name: str, operation: Operation) -> None:
    served = ExportModule(net_of(SECTIONS[name]).requires_grad_(False), operation)
    session = Session(export_onnx(served))
    for batch in (1, 2, 7, 64):
        inputs = example(served, batch)
        gap = max_difference(session.run(inputs.numpy()), served(inputs).numpy())
        assert gap <= (1 if session.output.dtype == "uint8" else 1e-5)


def example(served: ExportModule, batch: int) -> Tensor:
    """Return random inputs of a graph."""
    shape = served.example_input().shape[1:]
    if served.example_input().dtype == torch.uint8:
        return torch.from_numpy(np.random.default_rng(batch).integers(0, 256, (batch, *shape), np.uint8))
    return torch.randn(batch, *shape, generator=Generator().manual_seed(batch))


def test_dense_nets_accept_vectors() -> None:
    net = net_of(DenseSection(code=2), VECTOR)
    assert net(items(3, VECTOR)).shape == (3, *VECTOR)
    assert net.parameter_count() == 6 * 2 + 2 + 2 * 6 + 6


def test_top_k_keeps_the_largest_of_each_item() -> None:
    code = torch.tensor([[3.0, 1.0, 2.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    assert top_k(code, 2).tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, pytest.approx(0.3), pytest.approx(0.4)]]


def test_lifetime_sparsity_keeps_the_largest_items_per_unit() -> None:
    code = torch.tensor([[1.0, 8.0], [4.0, 7.0], [3.0, 6.0], [2.0, 5.0]])
    assert lifetime_sparsity(code, 0.5).tolist() == [[0.0, 8.0], [4.0, 7.0], [3.0, 0.0], [0.0, 0.0]]


def test_lifetime_sparsity_applies_in_training_only() -> None:
    net = net_of(SECTIONS["dense lifetime"])
    assert (net.train().forward_with_code(items(10)).code > 0).sum(0).max() == 2
    assert (net.eval().forward_with_code(items(10)).code > 0).sum(0).max() == 10


def test_minmax_normalization_is_part_of_the_net() -> None:
    raw = torch.rand(50, *VECTOR, generator=Generator().manual_seed(0)) * 40 - 7
    net = DenseSection(code=2, output="sigmoid", normalize="minmax").build(VECTOR)
    net.init_from_data(raw)
    assert (net.normalize(raw).amin(0).tolist(), net.normalize(raw).amax(0).tolist()) == ([0.0] * 6, [1.0] * 6)
    output = net.activate_output(net(raw))
    assert (output >= raw.amin(0)).all()
    assert (output <= raw.amax(0)).all()
    with pytest.raises(RecipeError, match="for vectors"):
        DenseSection(code=2, normalize="minmax").build(PICTURE)


def test_samples_are_ordered_by_draw_then_item() -> None:
    net = net_of(VariationalSection(code=3, hidden=[9], draws=4)).eval()
    forward = net.forward_with_code(items(2), Generator().manual_seed(0))
    assert forward.samples is not None
    assert (forward.output.shape, forward.code.shape, forward.samples.shape) == ((8, *PICTURE), (2, 3), (8, 3))
    assert torch.equal(net.decode(forward.samples), forward.output)
    noise = torch.randn(4, 2, 3, generator=Generator().manual_seed(0))
    assert forward.log_variance is not None
    torch.testing.assert_close(forward.samples.view(4, 2, 3), forward.code + (forward.log_variance / 2).exp() * noise)


def test_variational_code_is_sampled_around_its_mean() -> None:
    net = net_of(SECTIONS["variational"]).eval()
    assert isinstance(net, Variational)
    one = items(1).expand(20_000, *PICTURE)
    mean, spread = net.posterior(one[:1])
    net.decoder = torch.nn.Sequential()  # so that the output is the sampled code
    drawn = net.forward_with_code(one, Generator().manual_seed(0)).output
    torch.testing.assert_close(drawn.mean(0), mean[0], rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.var(0).log(), spread[0], rtol=0, atol=0.05)
    assert torch.equal(net.forward_with_code(one[:1]).output, mean)


def compressive(output: str = "sigmoid") -> Compressive:
    net = CompressiveSection.model_validate(
        {"code": 4, "hidden": [9], "quantization_step": 0.1, "output": output}
    ).build(PICTURE)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("deviation", [0.1, 5.0, 40.0])
def test_code_probabilities_sum_to_one(deviation: float) -> None:
    density = FactorizedDensity(1)
    with torch.no_grad():
        density.init_scales(torch.tensor([deviation]))
        chances = (-density.negative_log_likelihood(torch.arange(-2000.0, 2001).unsqueeze(1))).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-4)
    assert chances.argmax() == 2000


@pytest.mark.parametrize("count", [200, 30])
def test_compressive_net_starts_as_the_pca_codec(count: int) -> None:
    pictures = (items(count) * 255).round().to(torch.uint8)
    net = compressive("linear")
    net.init_from_data(pictures)
    flat = pictures.flatten(1).double().numpy() / 255
    mean = flat.mean(0)
    _, lengths, directions = np.linalg.svd(flat - mean, full_matrices=False)
    expected = (flat - mean) @ directions[:4].T / 0.1
    code = net.continuous_code(pictures / 255).numpy()
    np.testing.assert_allclose(np.abs(code), np.abs(expected), rtol=0, atol=1e-3)
    variances = lengths[:4] ** 2 / count
    kept = np.sign((code * expected).sum(0)) * variances / (variances + 0.1**2 / 12)
    output = net.decode(torch.from_numpy(code.round())).flatten(1).numpy()
    np.testing.assert_allclose(output, 0.1 * code.round() * kept @ directions[:4] + mean, rtol=0, atol=1e-3)


def test_rounding_noise_is_added_in_training_only() -> None:
    net, inputs = compressive().train(), items(500)
    away = net.forward_with_code(inputs, Generator().manual_seed(0)).code - net.continuous_code(inputs)
    assert away.abs().max() <= 0.5 + 1e-4
    assert away.std().item() == pytest.approx(12**-0.5, rel=0.05)
    assert torch.equal(net.eval().forward_with_code(inputs, Generator().manual_seed(0)).code, net.encode(inputs))
    assert torch.equal(net.encode(inputs), net.continuous_code(inputs).round())


ANY_SIZE = ConvSection(widths=[4, 6], code=3, skips=True, any_size=True)
UNEVEN = ConvSection(widths=[4, 6], code=3, blocks=[[0, 1], [2, 1]], skips=True, any_size=True)


@pytest.mark.parametrize("section", [ANY_SIZE, UNEVEN], ids=["even", "uneven"])
def test_outputs_depend_on_the_receptive_field_only(section: ConvSection) -> None:
    net = net_of(section)
    assert net.receptive_radius
    image = items(1, (1, 96, 88)).requires_grad_()
    net(image)[0, 0, 47, 42].backward()
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    reach = max((rows - 47).abs().max().item(), (columns - 42).abs().max().item())
    assert reach <= net.receptive_radius
    assert reach > net.receptive_radius / 2  # the radius is tight


def test_tiles_at_multiples_of_the_stride_are_exact() -> None:
    net = net_of(ANY_SIZE).requires_grad_(False)
    assert net.stride
    assert net.receptive_radius
    image = items(1, (1, 160, 40))
    margin = -(-net.receptive_radius // net.stride) * net.stride
    start, stop = 2 * margin // net.stride * net.stride, 160 - margin
    tile = net(image[:, :, start - margin :])
    torch.testing.assert_close(
        tile[:, :, margin : margin + stop - start], net(image)[:, :, start:stop], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("side", [1, 2, 4])
def test_pixel_unshuffle_and_shuffle_are_inverse(side: int) -> None:
    inputs = items(2, (3, 8, 12))
    folded = pixel_unshuffle(inputs, side)
    assert folded.shape == (2, 3 * side**2, 8 // side, 12 // side)
    square = inputs[1, :, side : 2 * side, 2 * side : 3 * side]
    torch.testing.assert_close(folded[1, :, 1, 2], square.permute(1, 2, 0).flatten(), rtol=0, atol=0)
    torch.testing.assert_close(pixel_shuffle(folded, side), inputs, rtol=0, atol=0)


@pytest.mark.parametrize("sides", [(1, 1), (3, 17), (16, 16), (21, 2)])
def test_any_size_is_returned_unchanged(sides: tuple[int, int]) -> None:
    assert net_of(ANY_SIZE)(items(2, (1, *sides))).shape == (2, 1, *sides)


def test_blocks_are_counted_per_level_and_direction() -> None:
    net = UNEVEN.build((1, 8, 8))
    assert [len(level) for level in net.down] == [0, 2]  # pyright: ignore[reportArgumentType]
    assert [len(level) for level in net.up] == [1, 1]  # pyright: ignore[reportArgumentType]


def test_residual_net_subtracts_from_its_input() -> None:
    sections = [UNEVEN.model_copy(update={"output": "linear", "residual": residual}) for residual in (False, True)]
    plain, residual = (net_of(section) for section in sections)
    inputs = items(2, (1, 21, 18))
    torch.testing.assert_close(residual(inputs), inputs - plain(inputs))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks": [[1, 1]]}, "blocks has 1 levels, but widths has 2"),
        ({"residual": True, "output": "sigmoid", "skips": True}, "residual needs"),
        ({"residual": True, "output": "linear", "skips": False}, "residual needs"),
    ],
)
def test_invalid_conv_sections_are_rejected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ConvSection.model_validate({"widths": [4, 6], "code": 3, **changes})


def test_new_residual_block_is_the_identity() -> None:
    block = Block(4)
    zeros, x = torch.zeros(1, 4, 5, 5), torch.randn(1, 4, 5, 5, generator=Generator().manual_seed(0))
    torch.testing.assert_close(block(x) - x, block(zeros))


def test_operations_are_those_of_the_service() -> None:
    for section in SECTIONS.values():
        assert set(section.operations) <= set(OPERATIONS)
        assert section.operations
