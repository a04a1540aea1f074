"""The study `sparsity`: overcomplete sparse codes, their activity and their use for classification."""

from training.studies.sparsity.text import STUDY

__all__ = ["STUDY"]
