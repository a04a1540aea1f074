"""Sparsity that is enforced, not paid for: which numbers of a code are kept, the others become 0. No parameters."""

from torch import Tensor


def top_k(code: Tensor, count: int) -> Tensor:
    """N,code -> the same with all but each item's `count` largest numbers at 0 (k-sparse, Makhzani and Frey 2014)."""
    least = code.topk(count, 1, sorted=True).values[:, -1:]
    return code * (code >= least).to(code.dtype)


def lifetime_sparsity(code: Tensor, share: float) -> Tensor:
    """N,code -> the same with each unit kept for the `share` of the batch where it is largest, and 0 for the others.

    So every unit learns from some items and none from many (winner-take-all, Makhzani and Frey 2015).
    """
    return code * (code >= lifetime_threshold(code, share)).to(code.dtype)


def lifetime_threshold(code: Tensor, share: float) -> Tensor:
    """N,code -> code: the least value of each unit among the `share` of the batch where it is largest; no gradient."""
    count = max(1, round(share * len(code)))
    columns = code.detach().t().contiguous()  # the values of a unit side by side: many times as fast
    return columns.kthvalue(len(code) - count + 1, 1).values
