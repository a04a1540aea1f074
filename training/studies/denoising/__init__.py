"""The study `denoising`: denoising autoencoders, by kind and level of the corruption; masking and dropout."""

from training.studies.denoising.measure import STUDY

__all__ = ["STUDY"]
