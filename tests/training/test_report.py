"""The report: plots, summary and targets of every stored study, and a self-contained page."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.errors import NothingToPlot, RecipeError
from training.report import save_results, write_report
from training.studies import STUDIES, Results, Row, Study, find_studies
from training.studies.base.packing import pack, unpack

STORED = Path(__file__).parents[2] / "docs" / "lecture"
every_study = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


def stored(study: Study) -> Results:
    return json.loads((STORED / f"{study.name}.json").read_text())


def axes_of(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.has_data()]


def is_scale(axes: Any) -> bool:
    """Return whether axes are a colour bar with a label."""
    return axes.get_label() == "<colorbar>" and bool(axes.get_ylabel())


@every_study
def test_every_study_has_stored_results(study: Study) -> None:
    path = STORED / f"{study.name}.json"
    assert path.exists(), f"hourglass-train study {study.name}"
    assert path.stat().st_size < 400_000


@every_study
def test_study_figures_are_finite(study: Study) -> None:
    results = stored(study)
    rows = study.rows(results)
    assert rows
    assert all(math.isfinite(row.value) for row in rows)
    assert all(row.target is not None or row.stretch is None for row in rows)
    assert re.search(r"\d", study.summary(results)), "the summary must contain figures"
    assert study.question.endswith("?")


@every_study
def test_study_plots_are_labelled(study: Study) -> None:
    figures = study.plot(stored(study))
    assert figures
    for name, figure in figures.items():
        assert (STORED / f"{study.name}-{name}.png").exists(), "hourglass-train report"
        assert figure.get_suptitle() or any(axes.get_title() for axes in figure.axes), name
        for axes in axes_of(figure):
            assert axes.images or is_scale(axes) or (axes.get_xlabel() and axes.get_ylabel()) or axes.get_title(), name


def test_report_page_is_self_contained(tmp_path: Path) -> None:
    first = next(iter(STUDIES.values()))
    shutil.copy(STORED / f"{first.name}.json", tmp_path)
    page = write_report(tmp_path).read_text()
    assert first.question.replace("'", "&#x27;") in page
    assert page.count("data:image/png;base64,") == len(first.plot(stored(first)))
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)


def test_page_names_the_studies_without_results(tmp_path: Path) -> None:
    first, *others = STUDIES.values()
    assert others
    shutil.copy(STORED / f"{first.name}.json", tmp_path)
    assert "Not measured yet: " + ", ".join(study.name for study in others) in write_report(tmp_path).read_text()


def test_page_of_all_studies_names_none_as_missing(tmp_path: Path) -> None:
    for name in STUDIES:
        shutil.copy(STORED / f"{name}.json", tmp_path)
    assert "Not measured yet" not in write_report(tmp_path).read_text()


def test_folder_without_results_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(NothingToPlot, match="hourglass-train study"):
        write_report(tmp_path)


def test_results_round_trip_through_json(tmp_path: Path) -> None:
    first = next(iter(STUDIES.values()))
    results = {"a": 1.5, "b": pack(np.arange(6, dtype=np.uint8).reshape(2, 3))}
    assert json.loads(save_results(tmp_path / "new", first, results).read_text()) == results


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_arrays_survive_json(dtype: type) -> None:
    array = np.arange(12).reshape(3, 2, 2).astype(dtype) / dtype(1)
    array_read = unpack(json.loads(json.dumps(pack(array.astype(dtype)))))
    assert (array_read == array).all()
    assert array_read.shape == array.shape


def test_target_status_respects_the_direction() -> None:
    def low(value: float) -> str:
        return Row("a", value, "b", target=1.0, stretch=0.5).status

    def high(value: float) -> str:
        return Row("a", value, "b", target=1.0, stretch=2.0, higher_is_better=True).status

    assert [low(value) for value in (0.4, 0.5, 0.7, 1.0, 1.1)] == ["stretch", "stretch", "yes", "yes", "no"]
    assert [high(value) for value in (0.9, 1.0, 1.5, 2.0)] == ["no", "yes", "yes", "stretch"]
    assert Row("a", 1.0, "b").status == ""


def test_unknown_study_suggests_the_nearest() -> None:
    assert [study.name for study in find_studies(["all"])] == list(STUDIES)
    with pytest.raises(RecipeError, match="did you mean linear"):
        find_studies(["liner"])
