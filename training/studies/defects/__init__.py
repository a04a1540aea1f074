"""The study `defects`: scratches and stains on textures, found by nets that were fitted to undamaged ones."""

from training.studies.defects.measure import STUDY

__all__ = ["STUDY"]
