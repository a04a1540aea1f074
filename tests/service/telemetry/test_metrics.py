"""Metrics of one process, and of several workers that share a folder."""

import os
import subprocess
from pathlib import Path
from time import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Metrics
from service.telemetry.process_metrics import process_metrics
from service.telemetry.timings import Timings
from service.types import GraphKey, LoadResult

OTHER = (("code", "200"), ("model", ""), ("protocol", "http"), ("route", "other"))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Scrape the metrics, and return their values by name and sorted labels, as the parser of Prometheus reads them."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(it.name, tuple(sorted(it.labels.items()))): it.value for family in families for it in family.samples}


@pytest.fixture
def workers(tmp_path: Path) -> tuple[Metrics, Metrics]:
    """Return the metrics of two workers, with 3 and 4 items in flight, that share a folder in this process."""
    return Metrics(lambda: 3, tmp_path), Metrics(lambda: 4, tmp_path)


def test_histogram_buckets_are_cumulative() -> None:
    metrics = Metrics(lambda: 0)
    for items in (1, 2, 3, 128, 500):
        metrics.observe_batch(GraphKey("digits", "1", "encode"), items, 0.001)
    values = samples(metrics)
    at = (("model", "digits"), ("operation", "encode"))
    below = {bound: values["hourglass_batch_size_bucket", (("le", bound), *at)] for bound in ("1.0", "2.0", "4.0")}
    assert below == {"1.0": 1, "2.0": 2, "4.0": 3}
    assert values["hourglass_batch_size_bucket", (("le", "128.0"), *at)] == 4
    assert values["hourglass_batch_size_bucket", (("le", "+Inf"), *at)] == 5
    assert values["hourglass_batch_size_count", at] == 5
    assert values["hourglass_batch_size_sum", at] == 634


def test_scrape_sums_all_workers(workers: tuple[Metrics, Metrics]) -> None:
    for worker, count in zip(workers, (2, 5), strict=True):
        for _ in range(count):
            worker.count_request("/denoise", "digits", 200, 0.002)
        worker.flush()
    for worker in workers:
        values = samples(worker)
        at = (("code", "200"), ("model", "digits"), ("protocol", "http"), ("route", "/denoise"))
        assert values["hourglass_requests_total", at] == 7
        assert values["hourglass_request_duration_seconds_count", (("model", "digits"), ("route", "/denoise"))] == 7
        assert values["hourglass_inflight_items", ()] == 7


def test_counters_never_decrease_between_workers(workers: tuple[Metrics, Metrics]) -> None:
    first, second = workers
    seen = [0.0]
    for at in range(20):
        workers[at % 2].count_request("other", "", 200, 0.001)
        scraped = (first, second, second)[at % 3]
        seen.append(samples(scraped)["hourglass_requests_total", OTHER])
    assert seen == sorted(seen)
    assert max(seen) >= 19


def test_dead_worker_keeps_counters_and_drops_gauges(tmp_path: Path) -> None:
    dead, alive = Metrics(lambda: 9, tmp_path), Metrics(lambda: 1, tmp_path)
    dead.count_request("other", "", 200, 0.001)
    dead.flush()
    (file,) = tmp_path.glob(f"{os.getpid()}-*.json")
    file.rename(tmp_path / "999999999-1.json")
    values = samples(alive)
    assert values["hourglass_requests_total", OTHER] == 1
    assert values["hourglass_inflight_items", ()] == 1


def test_partially_written_file_is_ignored(workers: tuple[Metrics, Metrics], tmp_path: Path) -> None:
    (tmp_path / "77-7.json").write_bytes(b'{"rows": {')
    assert samples(workers[0])["hourglass_inflight_items", ()] == 3


def test_unsaved_metrics_stay_in_memory(workers: tuple[Metrics, Metrics], tmp_path: Path) -> None:
    first, _ = workers
    first.count_request("other", "", 200, 0.001)
    tmp_path.rename(tmp_path.with_name("gone"))
    first.flush()
    assert samples(first)["hourglass_requests_total", OTHER] == 1


def test_statistics_add_up_workers_and_are_not_exported(workers: tuple[Metrics, Metrics]) -> None:
    graph = GraphKey("digits", "1", "encode")
    for worker in workers:
        worker.observe_inference(graph, 3, Timings(decode=0.1, queue=0.2, run=0.3, encode=0.4))
        worker.observe_batch(graph, 8, 0.5)
        worker.observe_failure(graph, 2.0)
        worker.flush()
    counts = workers[0].statistics().counts
    assert {name: counts[*graph, name] for name in ("success", "fail", "queue", "batch_8")} == {
        "success": [2, pytest.approx(2.0)],
        "fail": [2, 4.0],
        "queue": [2, pytest.approx(0.4)],
        "batch_8": [2, 1.0],
    }
    assert counts[*graph, "items"][0] == 6
    assert abs(workers[0].statistics().last_inference[graph][0] / 1000 - time()) < 60
    assert b"statistic" not in workers[0].render()


def test_rejections_and_gauges_of_workers_are_summed(tmp_path: Path) -> None:
    first, second = Metrics(lambda: 1, tmp_path, lambda: 100), Metrics(lambda: 2, tmp_path, lambda: 50)
    for worker in (first, second, second):
        worker.count_rejection("overloaded")
        worker.flush()
    values = samples(first)
    assert values["hourglass_rejections_total", (("reason", "overloaded"),)] == 3
    assert values["hourglass_inflight_bytes", ()] == 150


def test_process_metrics_add_up_processes() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        (alone,) = (it for it in process_metrics([os.getpid()]) if it.name == "process_open_fds")
        (both,) = (it for it in process_metrics([os.getpid(), other.pid]) if it.name == "process_open_fds")
        other_fds = len(list(Path(f"/proc/{other.pid}/fd").iterdir()))
        other.kill()
    assert both.samples[0].value - alone.samples[0].value == other_fds


def test_pending_tiles_are_queued_ones_less_those_done(workers: tuple[Metrics, Metrics]) -> None:
    graph = GraphKey("photo", "2", "denoise")
    for worker in workers:
        worker.observe_image(graph, 40)
        worker.count_tiles(graph, "run", 7)
        worker.count_tiles(graph, "dropped", 13)
        worker.flush()
    values = samples(workers[0])
    at = (("model", "photo"), ("operation", "denoise"))
    assert values["hourglass_image_tiles_sum", at] == 80
    assert values["hourglass_image_tiles_bucket", (("le", "64.0"), *at)] == 2
    assert values["hourglass_tiles_total", (*at, ("outcome", "run"))] == 14
    assert values["hourglass_pending_tiles", ()] == 40


def test_loads_are_counted_by_result_and_timed() -> None:
    metrics = Metrics(lambda: 0)
    loads: list[tuple[LoadResult, float]] = [("loaded", 0.3), ("rejected", 0.02), ("loaded", 0.3)]
    for result, seconds in loads:
        metrics.observe_load("digits", result, seconds)
    values = samples(metrics)
    assert values["hourglass_model_loads_total", (("model", "digits"), ("result", "loaded"))] == 2
    assert values["hourglass_model_loads_total", (("model", "digits"), ("result", "rejected"))] == 1
    assert values["hourglass_model_load_duration_seconds_sum", (("model", "digits"),)] == pytest.approx(0.62)
