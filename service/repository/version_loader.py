"""Loads a version of a model whole, and reports how long it took and how it ended."""

from collections.abc import Callable, Collection
from pathlib import Path
from time import perf_counter

import structlog

from service.card import Operation
from service.engine.bitstream import check_tables
from service.engine.model import LoadedModel, Runner
from service.errors import ModelRejected
from service.repository.layout import load_card
from service.repository.loader import load_runner
from service.runtime.session import DeviceUnavailable
from service.runtime.tuning import LoadOptions
from service.types import LoadResult

log = structlog.get_logger()
OnLoad = Callable[[str, LoadResult, float], None]
"""Gets the name of the model, the result and the seconds of an attempt to load a version."""


def load_version(
    folder: Path, options: LoadOptions, on_load: OnLoad, unloaded: Collection[tuple[str, Operation]] = ()
) -> LoadedModel:
    """Load and verify the version in `folder`, `<models>/<name>/<version>`, without its operations in `unloaded`.

    Raises ModelRejected for any error in the version, so that other models are still served, and DeviceUnavailable if
    the device of the options is `cuda` and CUDA cannot be used.
    """
    name = folder.parent.name
    started_at = perf_counter()
    result: LoadResult = "failed"
    try:
        model = _load_verified(folder, options, unloaded)
        result = "loaded"
        return model
    except ModelRejected:
        result = "rejected"
        raise
    except DeviceUnavailable:
        raise
    except Exception as error:
        log.exception("model_load_failed", model=name, version=int(folder.name))
        raise ModelRejected(f"the version cannot be loaded: {type(error).__name__}") from error
    finally:
        on_load(name, result, perf_counter() - started_at)


def _load_verified(folder: Path, options: LoadOptions, unloaded: Collection[tuple[str, Operation]]) -> LoadedModel:
    name, version = folder.parent.name, int(folder.name)
    card = load_card(folder, options.link_dirs, options.trusted_keys)
    if (card.name, card.version) != (name, version):
        raise ModelRejected(f"the card is for {card.name} {card.version}, not for {name} {version}")
    runners: dict[Operation, Runner] = {
        operation: load_runner(folder, card, operation, options)
        for operation in card.operations
        if (name, operation) not in unloaded
    }
    check_tables(card)
    return LoadedModel(card, runners)
