"""The standard metrics `process_*` of Prometheus, over all worker processes."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

OLDEST = "process_start_time_seconds"  # of several processes the earliest counts; all other metrics are added up


def process_metrics(pids: Iterable[int]) -> Iterator[Metric]:
    """Yield CPU seconds, memory, file descriptors and start of the processes. Nothing where there is no /proc."""
    families: dict[str, Metric] = {}
    for pid in pids:
        for family in ProcessCollector(pid=lambda pid=pid: pid, registry=CollectorRegistry()).collect():
            total = families.setdefault(family.name, family)
            if total is not family and family.samples:
                combine = min if family.name == OLDEST else sum
                (old,), (new,) = total.samples, family.samples
                total.samples = [old._replace(value=combine((old.value, new.value)))]
    yield from families.values()
