"""What does training on corrupted inputs teach? The study `denoising`."""

from training.studies.denoising.measure import STUDY

__all__ = ["STUDY"]
