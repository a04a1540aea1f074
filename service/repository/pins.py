"""The file `pin.json` of a model: the version that its requests get, and the share of another version."""

import os
from pathlib import Path
from typing import Annotated, Self
from uuid import uuid4

from pydantic import Field, PositiveInt, ValidationError, model_validator

from service.card import StrictModel
from service.errors import ModelRejected
from service.repository.safe_read import read_regular_file

PIN_FILE = "pin.json"
MAX_PIN_BYTES = 1024


class Pin(StrictModel):
    """The version that requests without a version get, and the percentage of them that get `candidate` instead."""

    version: PositiveInt
    candidate: PositiveInt | None = None
    percent: Annotated[float, Field(ge=0, le=100)] = 0

    @model_validator(mode="after")
    def _candidate_is_another_version(self) -> Self:
        if self.candidate == self.version or (self.candidate is None) != (self.percent == 0):
            raise ValueError("candidate must be another version, with a percent above 0")
        return self


def read_pin(folder: Path) -> Pin | None:
    """Return the pin of a model's folder, or None. Raises ModelRejected if the file is invalid."""
    if not os.path.lexists(folder / PIN_FILE):
        return None
    try:
        return Pin.model_validate_json(read_regular_file(folder / PIN_FILE))
    except ValidationError as error:
        raise ModelRejected(f"{PIN_FILE} is invalid: write it by `hourglass models pin`") from error


def write_pin(folder: Path, pin: Pin | None) -> None:
    """Replace the pin of a model's folder atomically, or remove it. Raises OSError."""
    if pin is None:
        (folder / PIN_FILE).unlink(missing_ok=True)
        return
    temporary = folder / f".{uuid4().hex}.part"
    temporary.write_text(pin.model_dump_json(exclude_defaults=True) + "\n")
    temporary.replace(folder / PIN_FILE)
