"""Why the default models of the settings cannot be served, for the log, for readiness and for requests."""

from typing import get_args

from service.card import Card, Operation
from service.config import Settings
from service.environment import PREFIX
from service.repository.snapshot import Snapshot


def default_faults(snapshot: Snapshot, settings: Settings) -> list[str]:
    """Return why defaults of the settings cannot be served, one sentence for each setting at fault."""
    faults = (default_fault(snapshot, settings, operation) for operation in get_args(Operation))
    return [fault for fault in faults if fault]


def default_fault(snapshot: Snapshot, settings: Settings, operation: Operation) -> str:
    """Return why the default of an operation cannot be served, or an empty string if it can or if none is set.

    The text names the setting, its value and what there is. A model whose card was not read yet counts as served.
    """
    name = settings.default_model(operation)
    reason = _reason(snapshot, name, settings.default_version(operation), operation) if name else ""
    setting = f"default_{operation}"
    return f"{PREFIX}{setting.upper()} is {getattr(settings, setting)}, but {reason}" if reason else ""


def _reason(snapshot: Snapshot, name: str, version: int | None, operation: Operation) -> str:
    """Return why a version of a model, or the one that serves, cannot serve an operation, or an empty string."""
    versions = snapshot.versions.get(name, {})
    serving = snapshot.serving_version(name)
    if not versions and serving is None:
        names = ", ".join(snapshot.serving_versions())
        return f"there is no such model; there {'are ' + names if names else 'is none'}"
    if version and version != serving and version not in versions:
        return f"{name} has no such version; it has {', '.join(map(str, sorted(versions)))}"
    number = version or serving or max(versions)
    if number != serving and (rejected := snapshot.rejected.get((name, number))):
        return f"version {number} of {name} was rejected: {rejected.reason}"
    if not version and serving is None:
        pin = snapshot.pins.get(name)
        return f"{name} is pinned to {pin.version}, which it does not have" if pin else f"no version of {name} serves"
    card = _card(snapshot, name, number)
    if card and operation not in card.operations:
        return f"{name} does not support {operation}, only {', '.join(card.operations)}"
    return ""


def _card(snapshot: Snapshot, name: str, version: int) -> Card | None:
    """Return the card of a version that serves or is kept, or None if it was not read yet."""
    if kept := snapshot.kept.get((name, version)):
        return kept.model.card
    if snapshot.serving_version(name) != version:
        return None
    return snapshot.loaded[name].card if name in snapshot.loaded else snapshot.standby[name].card
