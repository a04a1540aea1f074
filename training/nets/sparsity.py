"""Sparsity constraints on codes: the largest activations are kept and the others set to 0. No parameters."""

from torch import Tensor


def top_k(code: Tensor, count: int) -> Tensor:
    """Keep the `count` largest numbers of each code (N, code) and set the others to 0.

    k-sparse autoencoders: Makhzani and Frey, "k-Sparse autoencoders" (ICLR 2014).
    """
    threshold = code.topk(count, 1, sorted=True).values[:, -1:]
    return code * (code >= threshold).to(code.dtype)


def lifetime_sparsity(code: Tensor, share: float) -> Tensor:
    """Keep each unit of codes (N, code) for the fraction `share` of the batch where it is largest; set the rest to 0.

    Every unit is then active for some items and none for many. Makhzani and Frey, "Winner-take-all autoencoders"
    (NIPS 2015).
    """
    return code * (code >= lifetime_threshold(code, share)).to(code.dtype)


def lifetime_threshold(code: Tensor, share: float) -> Tensor:
    """Return for each unit the smallest activation among the fraction `share` of the batch where it is largest.

    `code` is (N, code), the result (code,), without gradient. At least one item is kept per unit.
    """
    count = max(1, round(share * len(code)))
    columns = code.detach().t().contiguous()  # kthvalue is many times faster along contiguous memory
    return columns.kthvalue(len(code) - count + 1, 1).values
