"""The study `photos`: denoising of photographs of any size, compared with classical methods."""

from training.studies.photos.measure import STUDY

__all__ = ["STUDY"]
