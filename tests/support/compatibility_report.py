"""A pytest plugin that collects the marks of tests/support/compatibility.py.

`--compatibility FILE` writes the outcomes of the marked tests as JSON. Processes of pytest-xdist send the marks to the
controller with the reports of the tests.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest

from tests.support.compatibility import KINDS

VERIFIED = ""
NOT_RUN = "not run"
_PROPERTY = "compatibility"


class Row(TypedDict):
    """What the tests of one file state, and the outcome of each case: empty if verified, otherwise why not."""

    kind: int
    verdict: str
    what: str
    why: str
    file: str
    cases: dict[str, str]


COLLECTED = pytest.StashKey[list[Row]]()
"""The rows of all collected tests, those that `-m` and `-k` deselect too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file to write."""
    parser.addoption("--compatibility", type=Path, metavar="FILE", help="write the outcomes of marked tests as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Register the writer in the process that sees all reports."""
    file: Path | None = config.getoption("--compatibility")
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(file))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Attach the rows of each marked test to its reports."""
    rows: list[Row] = []
    for item in items:
        stated = list(_statements(item))
        item.user_properties += [(_PROPERTY, row) for row in stated]
        rows += stated
    config.stash[COLLECTED] = rows


def join(rows: Iterable[Row]) -> list[Row]:
    """Join rows that differ in their cases only, ordered by kind. A case that is not verified once is not verified."""
    joined: dict[tuple[int, str, str, str, str], Row] = {}
    for row in rows:
        key = (row["kind"], row["verdict"], row["what"], row["why"], row["file"])
        cases = joined.setdefault(key, {**row, "cases": {}})["cases"]
        for case, outcome in row["cases"].items():
            if cases.get(case, NOT_RUN) in (NOT_RUN, VERIFIED):
                cases[case] = outcome
    return [{**row, "cases": dict(sorted(row["cases"].items()))} for _, row in sorted(joined.items())]


class Writer:
    """Writes the rows of the tests that ran, at the end of a session without failures."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[Row] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the outcome of a phase of a test: a case that was skipped in one phase is not verified."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._add(report, reason.removeprefix("Skipped: "))
        elif report.when == "call":
            self._add(report, VERIFIED)

    def _add(self, report: pytest.TestReport, outcome: str) -> None:
        rows: list[Any] = [row for name, row in report.user_properties if name == _PROPERTY]
        self._rows.extend(cast("Row", {**row, "cases": dict.fromkeys(row["cases"], outcome)}) for row in rows)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the rows."""
        if exitstatus == pytest.ExitCode.OK:
            self._file.write_text(json.dumps(join(self._rows), indent=1, ensure_ascii=False) + "\n", "utf-8")


def _statements(item: pytest.Item) -> Iterator[Row]:
    """Yield a row of one case for each mark of a test. Raises KeyError for an unknown kind or parameter."""
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    values = {name: _text(value) for name, value in parameters.items()}
    for mark in item.iter_markers(_PROPERTY):
        fields = mark.kwargs
        if fields["kind"] not in KINDS:
            raise KeyError(f"{item.nodeid}: no kind {fields['kind']}")
        case = _printable(fields["cases"].format_map(values))
        yield Row(
            kind=fields["kind"],
            verdict=fields["verdict"],
            what=fields["what"],
            why=fields["why"],
            file=item.nodeid.partition("::")[0],
            cases={case: NOT_RUN},
        )


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _printable(case: str) -> str:
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in case)
