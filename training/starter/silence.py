"""Silences the warnings about data that the summary of `new` has in its own words."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

SUMMARIZED = ("training.data.folder", "training.data.table", "training.data.columns", "training.data.array_rows")
"""Modules whose warnings while data is loaded repeat the summary, or what was logged while the data was looked at."""


@contextmanager
def silenced(*modules: str) -> Generator[None]:
    """Drop what the modules log, whatever its level."""
    loggers = [logging.getLogger(module) for module in modules]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
