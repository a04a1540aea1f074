"""Winner-take-all nets: which responses are kept in training and evaluation."""

import pytest
import torch
from torch import Generator, Tensor

from training.errors import RecipeError
from training.nets.sparsity import lifetime_threshold
from training.nets.winner_take_all import THRESHOLD_SHARE, WinnerTakeAll, WinnerTakeAllSection

SHAPE = (1, 12, 10)


def net_of(lifetime: float = 0.2) -> WinnerTakeAll:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = WinnerTakeAllSection(maps=[5, 6], lifetime_sparsity=lifetime, output="linear").build(SHAPE)
        torch.nn.init.normal_(net.kernels.weight)
        return net


def pictures(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=Generator().manual_seed(count))


def drawn_with(net: WinnerTakeAll, output: Tensor) -> int:
    """Return which items have an output that differs from the constant."""
    assert net.kernels.bias is not None
    return int((output - net.kernels.bias).abs().flatten(1).amax(1).gt(1e-5).sum())


def test_threshold_is_the_smallest_kept_response() -> None:
    code = torch.tensor([[1.0, 8.0], [4.0, 7.0], [3.0, 6.0], [2.0, 5.0]], requires_grad=True)
    assert lifetime_threshold(code, 0.5).tolist() == [3.0, 7.0]
    assert lifetime_threshold(code, 0.01).tolist() == [4.0, 8.0]
    assert not lifetime_threshold(code, 0.5).requires_grad


def test_code_is_the_strongest_response_of_each_cell() -> None:
    net = net_of()
    responses = net.detectors(pictures(2))
    code = net.encode(pictures(2))
    assert code.shape == (2, 6, 3, 3)
    assert torch.equal(code[:, :, 1, 2], responses[:, :, 4:8, 8:10].amax((2, 3)))  # the last cell is partial


def test_decoding_uses_one_cell_per_map() -> None:
    net, code = net_of().eval(), torch.zeros(1, 6, 3, 3)
    code[0, 0, 1, 1] = 2.0
    alone = net.decode(code)
    code[0, 0, 2, 2] = 1.0
    assert torch.equal(net.decode(code), alone)
    code[0, 1, 2, 2] = 1.0
    assert not torch.equal(net.decode(code), alone)


def test_training_keeps_a_fraction_of_the_batch_per_map() -> None:
    net = net_of(lifetime=0.1).train()
    with torch.no_grad():
        net.kernels.weight[1:] = 0
        assert drawn_with(net, net(pictures(60))) == 6


def trained() -> WinnerTakeAll:
    """Return a net with thresholds from training batches."""
    net = net_of(lifetime=0.1).train()
    with torch.no_grad():
        for _ in range(300):
            net(pictures(60))
    return net.eval()


def test_evaluation_uses_the_threshold_of_training() -> None:
    net = trained()
    tops = net.pool(net.detectors(pictures(60))).amax((2, 3))
    torch.testing.assert_close(net.thresholds, lifetime_threshold(tops, 0.1), rtol=0.01, atol=0)
    with torch.no_grad():
        net.kernels.weight[1:] = 0
        assert drawn_with(net, net(pictures(60))) == int((tops[:, 0] >= net.thresholds[0]).sum())
        net.thresholds.fill_(1e-9)
        assert drawn_with(net, net(pictures(60))) == 60


def test_responses_below_the_floor_are_zero() -> None:
    net = trained()
    responses = net.pool(net.detectors(pictures(60)))
    code = net.encode(pictures(60))
    assert torch.equal(code > 0, responses > THRESHOLD_SHARE * net.thresholds[:, None, None])
    assert 0 < (code > 0).float().mean() < 1


def test_without_lifetime_sparsity_all_maps_are_kept() -> None:
    net = net_of(lifetime=0.0).train()
    net(pictures(60))
    assert not net.thresholds.any()


def test_vectors_are_rejected() -> None:
    with pytest.raises(RecipeError, match="pictures"):
        WinnerTakeAllSection(maps=[4]).build((6,))
