"""What do sparse codes look like, and what are they good for? The study `sparsity`."""

from training.studies.sparsity.text import STUDY

__all__ = ["STUDY"]
