"""How well are photographs of any size denoised? The study `photos`."""

from training.studies.photos.measure import STUDY

__all__ = ["STUDY"]
