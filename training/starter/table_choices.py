"""Chooses a net for the rows of a table."""

from training.errors import DataError
from training.starter.draft import MIN_ITEMS, Choice, Draft, Table, Task, optimizer_table, variational_objective
from training.starter.survey import TableSurvey

FEW_ROWS_PER_FEATURE = 20
"""Rows for each column below which a table gets a linear net."""
MAX_RATIO = 10.0
"""Largest ratio of the deviations of columns for which noise of one level means the same for all."""


def table_draft(task: Task, seen: TableSurvey) -> Draft:
    """Return a dense net for the rows of a table."""
    rows = seen.rows - (seen.missing_rows if seen.missing == "drop" else 0)
    if rows < MIN_ITEMS:
        raise DataError(
            f"{seen.path} has {rows} rows that can be used, too few to learn from: use at least {MIN_ITEMS}"
        )
    if seen.features < 2:
        raise DataError(f"{seen.path} has one column of numbers, and a code cannot be smaller: use at least 2 columns")
    items = round(0.9 * rows)
    share = {"anomaly": 8, "compress": 4}.get(task, 2 if seen.features < 32 else 6)
    code = max(1, min(seen.features // share, 64, items // 4))
    few = items < FEW_ROWS_PER_FEATURE * seen.features and task != "generate"
    hidden = [] if few else [min(256, max(16, 4 * seen.features))]
    reason = f"{items} rows for {seen.features} columns are few: a linear code, as PCA finds it, overfits least"
    net = {
        "family": Choice("variational" if task == "generate" else "dense"),
        "code": Choice(code, _code_reason(task, seen.features)),
        "hidden": Choice(hidden, reason if few else ""),
        "activation": Choice("gelu"),
        "normalize": Choice("standard", "columns of different units count alike; the scale is part of the model"),
    }
    objective = {"loss": Choice("mse")}
    if task == "generate":
        objective = variational_objective(0.1)
    optimizer = optimizer_table(2e-3, items, seen.features, decay=0.01)
    corruption = _noise(seen) if task == "denoise" else {}
    return Draft(_table_data(seen, task), net, objective, optimizer, items, corruption)


def _noise(seen: TableSurvey) -> Table:
    """Return noise for columns of one scale. Raises DataError if their scales differ."""
    if seen.ratio > MAX_RATIO or seen.one_hot:
        raise DataError(
            f"the columns of {seen.path} have different scales, so that no noise is the same for all: choose the task "
            "embed or anomaly, or bring the columns to one scale"
        )
    return {
        "kind": Choice("gaussian", "noise on every value"),
        "sigma": Choice(float(f"{0.3 * seen.deviation:.3g}"), "a third of the standard deviation of the columns"),
        "clip": Choice(False, "the values may be outside 0..1"),
    }


def _code_reason(task: Task, features: int) -> str:
    if task == "anomaly":
        return f"an eighth of {features} numbers: a narrow code copies nothing unusual"
    return f"of {features} numbers"


def _table_data(seen: TableSurvey, task: Task) -> Table:
    data = {"source": Choice("arrays"), "path": Choice(str(seen.path.absolute()))}
    if seen.drop:
        data["drop"] = Choice(list(seen.drop), "; ".join(f"{name}: {reason}" for name, reason in seen.drop.items()))
    if seen.label and task == "anomaly":
        reason = "ordinary rows only, here those of the most frequent class: change it if another one is ordinary"
        data["rows"] = Choice({seen.label: [seen.ordinary]}, reason)
    if seen.one_hot:
        data["categories"] = Choice("one-hot", "a column for each text")
    if seen.missing_rows:
        reason = (
            "few rows have missing values" if seen.missing == "drop" else "too many rows have some to leave them out"
        )
        data["missing"] = Choice(seen.missing, f"{reason} ({seen.missing_rows} of {seen.rows})")
    data["test_fraction"] = Choice(0.1, "share of the rows to measure with, never trained on")
    return data
