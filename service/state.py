"""The state that all front ends share: settings, models, admission, metrics and API keys."""

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.auth import ApiKeys
from service.config import Settings
from service.engine.admission import Admission
from service.engine.deadline import Timer
from service.engine.watchdog import Watchdog
from service.repository.defaults import default_faults
from service.repository.model_metrics import model_metrics
from service.repository.store import Store
from service.runtime.cgroups import read_limits
from service.runtime.hardware import available_cores
from service.runtime.memory import MemoryPlan, plan_memory
from service.runtime.providers import Device
from service.runtime.tuning import LoadOptions
from service.telemetry.metrics import METRICS_DIR_ENV, Metrics
from service.telemetry.tracing_switch import create_tracer

if TYPE_CHECKING:
    from service.repository.hub.mirror import Mirror
    from service.telemetry.tracing import RequestTracer


@dataclass(slots=True)
class State:
    """The state that all requests share. The lifespan of the app creates it."""

    settings: Settings
    store: Store
    admission: Admission
    metrics: Metrics
    pool: Executor
    timer: Timer = field(default_factory=Timer)
    watchdog: Watchdog | None = None
    api_keys: ApiKeys | None = None
    tracer: "RequestTracer | None" = None
    shutting_down: bool = False  # set when shutdown begins, before connections are closed
    starting: bool = False  # set while the gRPC server starts, after the HTTP server

    @property
    def is_ready(self) -> bool:
        """Whether requests can be served: there is no `unready_reason`."""
        return not self.unready_reason

    @property
    def unready_reason(self) -> str:
        """Why the service is not ready, or an empty string.

        It is starting or shutting down, no model is loaded, or a default of the settings cannot be served.
        """
        if self.shutting_down:
            return "shutting down"
        if self.starting:
            return "starting"
        if not self.store.snapshot.loaded:
            return "no model is loaded; see /models for the reasons"
        return "; ".join(default_faults(self.store.snapshot, self.settings))


def memory_plan(settings: Settings, cores_per_worker: int, *, many_images: bool = False) -> MemoryPlan:
    """Return the bounds of one worker by its settings and by the memory limit of the container.

    A bound that is set explicitly is not changed. With `many_images`, tiles take twice the memory by default.
    """
    explicit = settings.model_fields_set
    tile_bytes = (settings.tile_memory_mib << 20) * cores_per_worker
    if many_images and "tile_memory_mib" not in explicit:
        tile_bytes *= 2
    bounds = MemoryPlan(settings.per_worker().max_inflight_bytes, tile_bytes, strict=False)
    plan = plan_memory(
        read_limits().memory_bytes,
        workers=settings.workers,
        inflight_bytes=bounds.inflight_bytes,
        tile_bytes=bounds.tile_bytes,
    )
    return MemoryPlan(
        bounds.inflight_bytes if "max_inflight_bytes" in explicit else plan.inflight_bytes,
        bounds.tile_bytes if "tile_memory_mib" in explicit else plan.tile_bytes,
        plan.strict and "max_inflight_bytes" not in explicit,
    )


def create_state(settings: Settings, *, many_images: bool = False) -> State:
    """Create the state without loading models. `many_images` is that of `LoadOptions`."""
    worker_settings = settings.per_worker()
    cores_per_worker = max(1, available_cores().value // settings.workers)
    plan = memory_plan(settings, cores_per_worker, many_images=many_images)
    admission = Admission(
        max_items=worker_settings.max_inflight_items, max_bytes=plan.inflight_bytes, strict=plan.strict
    )
    metrics_dir = os.environ.get(METRICS_DIR_ENV)
    metrics = Metrics(lambda: admission.items, Path(metrics_dir) if metrics_dir else None, lambda: admission.nbytes)
    # One thread more than cores, so that small work does not wait for the tiles of large images.
    pool = ThreadPoolExecutor(cores_per_worker + 1, "pool")
    load_options = LoadOptions(
        device=Device(settings.device, settings.execution_options),
        intra_op_threads=settings.intra_op_threads,
        max_batch_size=settings.max_batch_size,
        precision=settings.precision,
        tile_memory_bytes=plan.tile_bytes,
        many_images=many_images,
        pool=pool,
        cores=cores_per_worker,
        on_batch=metrics.observe_batch,
        on_image=metrics.observe_image,
        on_tiles=metrics.count_tiles,
        link_dirs=(settings.models_folder, *settings.link_dirs),
        trusted_keys=settings.trusted_public_keys,
    )
    store = Store(
        settings.models_folder,
        load_options,
        max_old_versions=settings.max_old_versions,
        default_versions=settings.default_versions,
        memory_budget=worker_settings.model_memory_mib << 20,
        on_load=metrics.observe_load,
    )
    metrics.sources.append(lambda: model_metrics(store))
    return State(
        settings=settings,
        store=store,
        admission=admission,
        metrics=metrics,
        pool=pool,
        api_keys=ApiKeys.from_file(settings.api_keys_file, settings.rate_limit, settings.workers)
        if settings.api_keys_file
        else None,
        tracer=create_tracer(os.environ),
    )


def create_mirror(state: State) -> "Mirror | None":
    """Return the local copy of the models at the address of the settings, or None if they are in a folder."""
    settings = state.settings
    if settings.models_address is None:
        return None
    from service.repository.hub.mirror import Mirror  # needs the extra `hub`

    return Mirror(
        settings.models_address,
        settings.models_folder,
        settings.model_cache_mib << 20,
        settings.trusted_public_keys,
        lambda: [*state.store.snapshot.serving_versions().items()],
    )
