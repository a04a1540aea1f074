"""The panels of the Grafana dashboard: their titles, descriptions, units and queries."""

from dataclasses import dataclass

PERCENT, SECONDS, BYTES, SHORT, REQUESTS = "percentunit", "s", "bytes", "short", "reqps"
SERVER_ERROR = 'code=~"5.."'


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of PromQL, and the legend of its series, with labels in double braces."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of the dashboard: what it shows, its unit and its queries. `kind`: a panel type of Grafana."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: tuple[Panel, ...]


def select(metric: str, *matchers: str, model: bool = True) -> str:
    """Return a selector of the series of the chosen job, and of the chosen models if the metric has that label."""
    chosen = ['job=~"$job"', *(['model=~"$model"'] if model else []), *matchers]
    return f"{metric}{{{', '.join(chosen)}}}"


def rate(metric: str, *matchers: str, by: str = "", model: bool = True) -> str:
    """Return the rate of a counter per second, summed up by labels, or over all series if `by` is empty."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({select(metric, *matchers, model=model)}[$__rate_interval]))"


def mean(histogram: str, by: str) -> str:
    """Return the mean of the values of a histogram."""
    return f"{rate(f'{histogram}_sum', by=by)} / ({rate(f'{histogram}_count', by=by)} > 0)"


def quantiles(histogram: str, by: str, *matchers: str) -> tuple[Query, ...]:
    """Return queries for the median and the 95th and 99th percentile of a histogram, by labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    buckets = rate(f"{histogram}_bucket", *matchers, by=f"{by}, le")
    return tuple(
        Query(f"histogram_quantile({share}, {buckets})", f"p{round(share * 100)} {legend}")
        for share in (0.5, 0.95, 0.99)
    )


ROWS = (
    Row(
        "Requests",
        (
            Panel(
                "Rate",
                "Completed requests per second, by route and protocol.",
                REQUESTS,
                (Query(rate("hourglass_requests_total", by="route, protocol"), "{{route}} {{protocol}}"),),
            ),
            Panel(
                "Problems by reason",
                "Requests answered with a problem, by its type: invalid, refused or failed.",
                REQUESTS,
                (Query(rate("hourglass_rejections_total", by="reason", model=False), "{{reason}}"),),
                stacked=True,
            ),
            Panel(
                "Errors of the service",
                "Share of the requests that were answered with a 5xx. The alert HourglassErrors fires above 1 %.",
                PERCENT,
                (
                    Query(
                        f"({rate('hourglass_requests_total', SERVER_ERROR)} or vector(0))"
                        f" / ({rate('hourglass_requests_total')} > 0)",
                        "5xx",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Latency",
        (
            Panel(
                "Latency by operation",
                "Time of successful requests from their admission.",
                SECONDS,
                quantiles("hourglass_model_request_duration_seconds", "operation", 'outcome="success"'),
            ),
            Panel(
                "Latency by route",
                "Time from the request head to the end of the response, answers with an error included.",
                SECONDS,
                quantiles("hourglass_request_duration_seconds", "route"),
            ),
            Panel(
                "Stages",
                "Mean duration of the stages of a request: decode, queue, run, encode.",
                SECONDS,
                (Query(mean("hourglass_stage_duration_seconds", "operation, stage"), "{{operation}} {{stage}}"),),
                stacked=True,
            ),
        ),
    ),
    Row(
        "Load",
        (
            Panel(
                "Queue",
                "Time of requests in the queue. It grows before requests are rejected.",
                SECONDS,
                quantiles("hourglass_stage_duration_seconds", "operation", 'stage="queue"'),
            ),
            Panel(
                "In flight",
                "Items that are admitted and not yet answered, and tiles of large images that are not done.",
                SHORT,
                (
                    Query(f"sum({select('hourglass_inflight_items', model=False)})", "items"),
                    Query(f"sum({select('hourglass_pending_tiles', model=False)})", "tiles"),
                ),
            ),
            Panel(
                "Bytes in flight",
                "Decoded bytes that are admitted and not yet answered.",
                BYTES,
                (Query(f"sum({select('hourglass_inflight_bytes', model=False)})", "bytes"),),
            ),
            Panel(
                "Batch size",
                "Mean number of items in one run of a graph.",
                SHORT,
                (Query(mean("hourglass_batch_size", "model, operation"), "{{model}} {{operation}}"),),
            ),
            Panel(
                "Batches by size",
                "Runs per second of at most that many items.",
                SHORT,
                (Query(rate("hourglass_batch_size_bucket", by="le"), "{{le}}"),),
                kind="heatmap",
            ),
            Panel(
                "Tiles",
                "Tiles of large images that are done, by outcome. Those of a cancelled request are dropped.",
                SHORT,
                (Query(rate("hourglass_tiles_total", by="outcome"), "{{outcome}}"),),
                stacked=True,
            ),
        ),
    ),
    Row(
        "Models",
        (
            Panel(
                "Served and rejected versions",
                "Versions in use, and versions that were rejected, for which /models has the reason.",
                SHORT,
                (
                    Query(f"max by (model, version) ({select('hourglass_model_loaded')})", "{{model}} {{version}}"),
                    Query(
                        f"max by (model, version) ({select('hourglass_model_rejected')})",
                        "{{model}} {{version}} rejected",
                    ),
                ),
                kind="stat",
            ),
            Panel(
                "Loads by result",
                "Attempts of workers to load a version in the time range.",
                SHORT,
                (
                    Query(
                        f"sum by (model, result) (increase({select('hourglass_model_loads_total')}[$__range]))",
                        "{{model}} {{result}}",
                    ),
                ),
                kind="bargauge",
            ),
            Panel(
                "Duration of loads",
                "Mean time that a worker took to read, verify and load a version, since the start.",
                SECONDS,
                (
                    Query(
                        f"sum by (model) ({select('hourglass_model_load_duration_seconds_sum')})"
                        f" / sum by (model) ({select('hourglass_model_load_duration_seconds_count')})",
                        "{{model}}",
                    ),
                ),
                kind="bargauge",
            ),
            Panel(
                "Requests by version",
                "Requests per second by version and outcome. Compare a candidate with the version in use.",
                REQUESTS,
                (
                    Query(
                        rate("hourglass_model_request_duration_seconds_count", by="model, version, outcome"),
                        "{{model}} {{version}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Latency by version",
                "Time of successful requests from their admission.",
                SECONDS,
                quantiles("hourglass_model_request_duration_seconds", "model, version", 'outcome="success"'),
            ),
            Panel(
                "Build",
                "Versions of the service and of Python.",
                SHORT,
                (
                    Query(
                        f"sum by (version, python) ({select('hourglass_build_info', model=False)})",
                        "{{version}}, Python {{python}}",
                    ),
                ),
                kind="stat",
            ),
        ),
    ),
    Row(
        "Drift of the inputs",
        (
            Panel(
                "Error percentile",
                "Quantiles of the percentile that each item's error has in the model's test set. Without drift, "
                "the median is 50 and p95 is 95.",
                SHORT,
                quantiles("hourglass_error_percentile", "model, operation"),
            ),
            Panel(
                "Noise level",
                "Quantiles of the estimated noise of the inputs, on the 0..1 scale.",
                SHORT,
                quantiles("hourglass_noise_sigma", "model, operation"),
            ),
            Panel(
                "Population stability index",
                "Of the error percentiles of one day against the test set: below 0.1 is stable. The alert "
                "HourglassDrift fires above 0.25, with at least 1000 items. Needs the rules of deploy/prometheus.",
                SHORT,
                (Query('hourglass:error_percentile:psi1d{model=~"$model"}', "{{model}} {{operation}}"),),
            ),
        ),
    ),
    Row(
        "Process",
        (
            Panel(
                "CPU",
                "Cores in use by all workers of an instance.",
                SHORT,
                (Query(f"rate({select('process_cpu_seconds_total', model=False)}[$__rate_interval])", "{{instance}}"),),
            ),
            Panel(
                "Memory",
                "Resident memory of all workers of an instance; memory that they share counts once for each.",
                BYTES,
                (Query(select("process_resident_memory_bytes", model=False), "{{instance}}"),),
            ),
            Panel(
                "File descriptors",
                "Open files and connections of all workers of an instance.",
                SHORT,
                (Query(select("process_open_fds", model=False), "{{instance}}"),),
            ),
        ),
    ),
)


def expressions() -> list[str]:
    """Return the expressions of all panels."""
    return [query.expression for row in ROWS for panel in row.panels for query in panel.queries]
