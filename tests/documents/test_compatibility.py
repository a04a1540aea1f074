"""docs/compatibility.md: its rows are those of the marked tests, and what did not run is not called accepted."""

import json
from pathlib import Path

import pytest

from docs import compatibility_tables
from docs.compatibility_tables import OUTCOMES, compatibility
from tests.support.compatibility import KINDS
from tests.support.compatibility_report import COLLECTED, NOT_RUN, VERIFIED, Row, join

pytest_plugins = ["pytester"]


def row(verdict: str = "accepted", **cases: str) -> Row:
    return Row(kind=1, verdict=verdict, what="a photo", why="Pillow", file="test_a.py", cases=cases)


def without_outcomes(rows: list[Row]) -> list[Row]:
    return [{**one, "cases": dict.fromkeys(one["cases"], NOT_RUN)} for one in rows]


def test_stored_rows_are_those_of_the_marked_tests(request: pytest.FixtureRequest) -> None:
    """Rows of files are compared if the session has collected them whole."""
    arguments = [Path(argument) for argument in request.config.args]
    if not all(argument.is_dir() for argument in arguments):
        pytest.skip("only some tests of a file may have been collected")
    root = request.config.rootpath
    stored: list[Row] = json.loads(OUTCOMES.read_text("utf-8"))
    seen = [
        one for one in stored if any((root / one["file"]).is_relative_to(argument.absolute()) for argument in arguments)
    ]
    assert without_outcomes(seen) == join(request.config.stash[COLLECTED]), "run `make compatibility`"
    assert all((root / one["file"]).exists() for one in stored)


def test_every_kind_has_a_verified_case() -> None:
    stored: list[Row] = json.loads(OUTCOMES.read_text("utf-8"))
    assert {one["kind"] for one in stored if VERIFIED in one["cases"].values()} == set(KINDS)


def test_skipped_cases_are_printed_as_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility_tables, "OUTCOMES", tmp_path / "outcomes.json")
    (tmp_path / "outcomes.json").write_text(json.dumps([row(good=VERIFIED, lost="curl is not installed")]))
    section = compatibility().partition("\n## 2")[0]
    assert "| **accepted** | a photo | good | compared with Pillow |" in section
    assert "| **not verified** | a photo | lost | curl is not installed (would be accepted) |" in section


def test_a_case_skipped_once_is_not_verified() -> None:
    for outcomes in ([VERIFIED, "no curl"], ["no curl", VERIFIED]):
        (joined,) = join([row(a=outcome) for outcome in outcomes])
        assert joined["cases"] == {"a": "no curl"}


SUITE = """
import pytest
from tests.support.compatibility import accepts, refuses

@accepts(1, "a photo", oracle="Pillow", cases="{name}")
@pytest.mark.parametrize("name", ["good", pytest.param("lost", marks=pytest.mark.skip(reason="no curl"))])
def test_a(name: str) -> None: ...

@refuses(2, "a bomb", because="it is large")
def test_b() -> None: %s
"""


@pytest.mark.parametrize(("end", "written"), [("...", True), ("assert False", False)])
def test_outcomes_are_written_unless_a_test_fails(pytester: pytest.Pytester, end: str, written: bool) -> None:
    pytester.makeini("[pytest]\nmarkers = compatibility")
    pytester.makepyfile(SUITE % end)
    pytester.runpytest_inprocess("-p", "tests.support.compatibility_report", "--compatibility", "outcomes.json")
    assert (pytester.path / "outcomes.json").exists() == written
    if written:
        first, second = json.loads((pytester.path / "outcomes.json").read_text())
        assert first["cases"] == {"good": VERIFIED, "lost": "no curl"}
        assert (second["verdict"], second["cases"]) == ("refused", {"": VERIFIED})
