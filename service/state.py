"""What all front ends share: settings, models, admission, metrics, API keys."""

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service.auth import ApiKeys
from service.config import Settings
from service.engine.admission import Admission
from service.engine.watchdog import Watchdog
from service.repository.store import Store
from service.runtime.hardware import available_cores
from service.runtime.tuning import LoadOptions
from service.telemetry.metrics import METRICS_DIR_ENV, Metrics


@dataclass(slots=True)
class State:
    """What every request shares; made by the app's lifespan."""

    settings: Settings
    store: Store
    admission: Admission
    metrics: Metrics
    pool: Executor
    watchdog: Watchdog | None = None
    api_keys: ApiKeys | None = None
    shutting_down: bool = False  # a stop has begun


def create_state(settings: Settings) -> State:
    """Everything requests share, nothing loaded yet."""
    share = settings.per_worker()
    admission = Admission(max_items=share.max_inflight_items, max_bytes=share.max_inflight_bytes)
    folder = os.environ.get(METRICS_DIR_ENV)
    metrics = Metrics(lambda: admission.items, Path(folder) if folder else None)
    cores_per_worker = max(1, available_cores().value // settings.workers)
    pool = ThreadPoolExecutor(
        cores_per_worker + 1, "pool"
    )  # one more than processors: what is small goes beside the tiles
    loading = LoadOptions(
        device=settings.device,
        intra_op_threads=settings.intra_op_threads,
        max_batch_size=settings.max_batch_size,
        precision=settings.precision,
        tile_memory_bytes=(settings.tile_memory_mib << 20) * cores_per_worker,
        pool=pool,
        cores=cores_per_worker,
        on_batch=metrics.observe_batch,
    )
    return State(
        settings=settings,
        store=Store(settings.models_dir, loading, max_old_versions=settings.max_old_versions),
        admission=admission,
        metrics=metrics,
        pool=pool,
        api_keys=ApiKeys.from_file(settings.api_keys_file, settings.rate_limit, settings.workers)
        if settings.api_keys_file
        else None,
    )
