"""The study `copying`: overcomplete autoencoders that learn to copy their input."""

from training.studies.copying.measure import STUDY

__all__ = ["STUDY"]
