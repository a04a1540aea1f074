"""The models of a store as the Open Inference Protocol describes them: metadata, configuration, statistics and index.

The functions return documents whose fields are those of the protocol, for JSON and for protocol buffers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.card import Operation
from service.config import Settings
from service.engine.batcher import Batcher
from service.engine.model import LoadedModel
from service.engine.queue import DEFAULT_PRIORITY, LOWEST_PRIORITY
from service.engine.tensor_inference import input_port, output_port, takes_images
from service.errors import InvalidParameter, ModelNotFound
from service.oip.names import join_name, split_name
from service.oip.requests import RequestOptions
from service.oip.tensors import Port
from service.repository.snapshot import Standby
from service.repository.store import Store
from service.repository.suggestions import nearest
from service.telemetry.metrics import Statistics

Document = dict[str, Any]

EXTENSIONS = ("binary_tensor_data", "parameters", "schedule_policy", "model_configuration", "statistics")
CONTROL_EXTENSION = "model_repository"
STATISTICS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and one of its operations, which are one model in the protocol."""

    model: LoadedModel
    operation: Operation

    @property
    def name(self) -> str:
        """The name in the protocol."""
        return join_name(self.model.card.name, self.operation)

    @property
    def version(self) -> str:
        """The version as text."""
        return str(self.model.card.version)

    @property
    def takes_images(self) -> bool:
        """Whether the input is an image."""
        return takes_images(self.model.card, self.operation)


def check_options(served: ServedModel, options: RequestOptions) -> None:
    """Raise InvalidParameter if a request has a parameter that the operation does not have."""
    if options.removal and served.operation != "denoise":
        raise InvalidParameter(
            f"{options.removal[0]}: only denoise removes noise, and not {served.operation}; "
            "it takes the parameters priority, timeout and binary_data_output"
        )


async def find_model(store: Store, name: str, version: str, *, shared: bool = False) -> ServedModel:
    """Return a model by its name in the protocol, in the version that serves if `version` is empty.

    With `shared`, a candidate gets its share of the calls without a version.
    Raises ModelNotFound, InvalidParameter or ModelRejected.
    """
    if version and not (version.isascii() and version.isdecimal() and len(version) < 10 and int(version)):
        raise InvalidParameter("version: must be a positive integer of at most nine digits")
    parts = split_name(name)
    if parts.model not in store.snapshot.versions:
        model = nearest(parts.model, [*store.snapshot.serving_versions()])
        similar = nearest(join_name(model, parts.operation or ""), served_names(store)) if model else ""
        hint = f", did you mean {similar}?" if similar else ""
        raise ModelNotFound(f"there is no such model{hint}; /v2/models and the repository index list all")
    candidate = store.choose_version(parts.model) if shared and not version else None
    model = await store.get(parts.model, int(version) if version else candidate)
    if parts.operation is None:
        names = ", ".join(join_name(model.card.name, operation) for operation in model.runners)
        raise ModelNotFound(f"a name consists of a model and an operation: {names}")
    if (parts.model, parts.operation) in store.unloaded:
        raise ModelNotFound("the model was unloaded; load it by /v2/repository/models/NAME/load")
    if parts.operation not in model.runners:
        names = ", ".join(model.runners)
        raise ModelNotFound(f"{model.card.name} does not support {parts.operation}, only {names}")
    return ServedModel(model, parts.operation)


def served_names(store: Store) -> list[str]:
    """Return the names of all models, those included that a request has to load."""
    loaded = [served.name for served in served_models(store)]
    standby = [join_name(name, each) for name in store.snapshot.standby for each in store.operations(name)]
    return sorted(loaded + standby)


def served_models(store: Store) -> Iterator[ServedModel]:
    """Return all models in memory in their newest versions."""
    for model in store.snapshot.loaded.values():
        for operation in model.runners:
            yield ServedModel(model, operation)


def server_metadata(version: str, settings: Settings) -> Document:
    """Return name, version and extensions of the server."""
    extensions = [*EXTENSIONS, *([CONTROL_EXTENSION] if settings.enable_model_control else [])]
    return {"name": "hourglass", "version": version, "extensions": extensions}


def model_metadata(store: Store, served: ServedModel) -> Document:
    """Return the versions, inputs and outputs of a model."""
    name = served.model.card.name
    snapshot = store.snapshot
    versions = [number for number in sorted(snapshot.versions.get(name, {})) if (name, number) not in snapshot.rejected]
    return {
        "name": served.name,
        "versions": [str(number) for number in versions] or [served.version],
        "platform": "onnx_onnxv1",
        "inputs": [_metadata_tensor(input_port(served.model, served.operation))],
        "outputs": [_metadata_tensor(output_port(served.model, served.operation))],
    }


def _metadata_tensor(port: Port) -> Document:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}


def model_config(served: ServedModel, settings: Settings) -> Document:
    """Return the configuration of a model as Triton describes it; shapes are without N."""
    batching: Document = {"priority_levels": LOWEST_PRIORITY, "default_priority_level": DEFAULT_PRIORITY}
    scheduler = served.model.runners[served.operation].scheduler
    if isinstance(scheduler, Batcher):
        batching["preferred_batch_size"] = [scheduler.max_batch]
    return {
        "name": served.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": settings.max_items,
        "input": [_config_tensor(input_port(served.model, served.operation))],
        "output": [_config_tensor(output_port(served.model, served.operation))],
        "dynamic_batching": batching,
    }


def _config_tensor(port: Port) -> Document:
    return {"name": port.name, "data_type": f"TYPE_{port.datatype}", "dims": list(port.shape[1:])}


def model_statistics(served: ServedModel, statistics: Statistics) -> Document:
    """Return the counts and nanoseconds of the requests to a model and of its batches."""
    graph = served.model.runners[served.operation].key
    rows = {labels[3]: row for labels, row in statistics.counts.items() if labels[:3] == graph}
    batches = {int(name.removeprefix("batch_")): row for name, row in rows.items() if name.startswith("batch_")}
    nothing = _duration([0, 0])
    return {
        "name": served.name,
        "version": served.version,
        "last_inference": int(statistics.last_inference.get(tuple(graph), [0])[0]),
        "inference_count": int(rows.get("items", [0])[0]),
        "execution_count": sum(int(row[0]) for row in batches.values()),
        "inference_stats": {
            **{name: _duration(rows.get(name, [0, 0])) for name in STATISTICS},
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {"batch_size": size, "compute_input": nothing, "compute_infer": _duration(row), "compute_output": nothing}
            for size, row in sorted(batches.items())
        ],
    }


def _duration(row: list[float]) -> Document:
    return {"count": int(row[0]), "ns": round(row[1] * 1e9)}


def repository_index(store: Store, *, ready_only: bool) -> list[Document]:
    """Return every model and version with its state, and the reason if it is not ready."""
    snapshot = store.snapshot
    entries = [_entry(served.name, served.version) for served in served_models(store)]
    if ready_only:
        return entries
    for name, standby in snapshot.standby.items():
        names = [join_name(name, operation) for operation in store.operations(name)] or [name]
        entries += [_standby_entry(each, standby) for each in names]
    for name, model in snapshot.loaded.items():
        older = [number for number in snapshot.versions.get(name, {}) if number < model.card.version]
        for operation in model.runners:
            entries += [
                _entry(join_name(name, operation), str(number), "not loaded; a request for this version loads it")
                for number in older
                if (name, number) not in snapshot.rejected
            ]
    entries += [
        _entry(join_name(name, operation), str(snapshot.loaded[name].card.version), "unloaded")
        for name, operation in sorted(store.unloaded)
        if name in snapshot.loaded
    ]
    entries += [
        _entry(rejected.name, str(rejected.version), rejected.reason)
        for _, rejected in sorted(snapshot.rejected.items())
    ]
    return entries


def _standby_entry(name: str, standby: Standby) -> Document:
    if standby.pending:
        reason = "being loaded since the start; a request for it is answered"
        return {"name": name, "version": str(standby.version), "state": "LOADING", "reason": reason}
    return _entry(name, str(standby.version), "not in memory; a request for this model loads it")


def _entry(name: str, version: str, reason: str = "") -> Document:
    return {"name": name, "version": version, "state": "UNAVAILABLE" if reason else "READY", "reason": reason}
