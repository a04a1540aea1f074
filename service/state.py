"""What all front ends share: settings, models, admission, metrics, API keys."""

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service.auth import Access
from service.config import Settings
from service.engine.admission import Admission
from service.engine.watchdog import Watchdog
from service.repository.store import Store
from service.runtime.hardware import cores
from service.runtime.tuning import Loading
from service.telemetry.metrics import FOLDER as METRICS_FOLDER
from service.telemetry.metrics import Metrics


@dataclass(slots=True)
class State:
    """What every request shares; made by the app's lifespan."""

    settings: Settings
    store: Store
    admission: Admission
    metrics: Metrics
    pool: Executor
    watchdog: Watchdog | None = None
    access: Access | None = None
    leaving: bool = False  # a stop has begun


def open_state(settings: Settings) -> State:
    """Everything requests share, nothing loaded yet."""
    share = settings.share()
    admission = Admission(items=share.queue_items, size=share.queue_bytes)
    folder = os.environ.get(METRICS_FOLDER)
    metrics = Metrics(lambda: admission.items, Path(folder) if folder else None)
    mine = max(1, cores().value // settings.workers)
    pool = ThreadPoolExecutor(mine + 1, "pool")  # one more than processors: what is small goes beside the tiles
    loading = Loading(
        device=settings.device,
        threads=settings.threads,
        max_batch=settings.max_batch,
        precision=settings.precision,
        tile_memory=(settings.tile_memory << 20) * mine,
        pool=pool,
        cores=mine,
        observe=metrics.batch,
    )
    return State(
        settings=settings,
        store=Store(settings.models, loading, old_versions=settings.old_versions),
        admission=admission,
        metrics=metrics,
        pool=pool,
        access=Access.read(settings.keys, settings.rate, settings.workers) if settings.keys else None,
    )
