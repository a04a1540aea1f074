"""Metrics of the models folder: which versions are served and rejected, and which build serves them."""

import platform
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from service.repository.store import Store


def model_metrics(store: Store) -> Iterator[Metric]:
    """Yield one series per served model and per rejected version, and one of the build."""
    snapshot = store.snapshot
    served = GaugeMetricFamily(
        "hourglass_model_loaded",
        "Served models; the value is 1 for those in memory, and 0 for those that a request loads.",
        labels=("model", "version"),
    )
    for name, served_version in snapshot.serving_versions().items():
        served.add_metric((name, str(served_version)), int(name in snapshot.loaded))
    yield served
    rejected = GaugeMetricFamily(
        "hourglass_model_rejected", "Rejected versions; the value is 1.", labels=("model", "version")
    )
    for entry in snapshot.rejected.values():
        rejected.add_metric((entry.name, str(entry.version)), 1)
    yield rejected
    build = GaugeMetricFamily(
        "hourglass_build_info", "Version of the service and of Python; the value is 1.", labels=("version", "python")
    )
    build.add_metric((version("hourglass"), platform.python_version()), 1)
    yield build
