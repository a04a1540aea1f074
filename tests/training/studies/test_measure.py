"""Every study is measured once on small data: its results have the stored results' keys, and all parts are made."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_workspace import keys_of, tiny_workspace
from training.loop import guards
from training.studies import STUDIES, Study
from training.studies.measures import classifier, restoration

STORED = Path(__file__).parents[3] / "docs" / "lecture"
OPTIONAL = ("some", "some_pairs", "pairs", "textures")
"""Results of which packages of the extra `studies` measure a part."""


def keep_measured(stored: Any, measured: Any) -> Any:
    """Return stored results without the keys that were not measured."""
    if not isinstance(stored, dict) or not isinstance(measured, dict):
        return stored
    return {key: keep_measured(value, measured[key]) for key, value in stored.items() if key in measured}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_measured_results_have_stored_keys_and_are_shown(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "COLLAPSE_RATIO", 0.0)  # after a few steps all outputs are alike
    monkeypatch.setattr(classifier, "CONFIDENT", 0.0)  # and no probability is high
    monkeypatch.setattr(restoration, "ROUNDS", 1)
    monkeypatch.setattr(restoration, "PAUSE_SECONDS", 0.0)
    results = json.loads(json.dumps(study.measure(tiny_workspace(tmp_path))))
    stored = json.loads((STORED / f"{study.name}.json").read_text("utf-8"))
    stored |= {key: keep_measured(stored[key], results[key]) for key in OPTIONAL if key in stored}
    assert keys_of(results) == keys_of(stored)
    assert all(math.isfinite(row.value) for row in study.rows(results))
    assert all(figure.axes for figure in study.plot(results).values())
    assert study.summary(results)
