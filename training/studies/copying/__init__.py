"""Do overcomplete autoencoders merely copy? The study `copying`."""

from training.studies.copying.measure import STUDY

__all__ = ["STUDY"]
