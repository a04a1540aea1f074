"""The studies of the plane and of generation: their reports of stored results."""

from typing import Any

import numpy as np

from training.studies import generation, plane
from training.studies.base.packing import pack

RANDOM = np.random.default_rng(0)
JUDGED = {"purity": 0.8, "distance": 0.25, "floor": 0.01, "drawn": 0.83, "rarest": 0.02, "reconstructed": 0.9}
CONTROLS = {"accuracy": 0.99, "digits": 0.97, "mixed": 0.05}
SURVEYED: dict[str, Any] = {
    "gaps": 0.1,
    "empty": 0.07,
    "crowded": 0.03,
    "box": [[-1.0, -2.0], [1.0, 2.0]],
    "map": pack(RANDOM.integers(-1, 10, (100, 100)).astype(np.int8)),
    "pictures": pack(RANDOM.integers(0, 256, (256, 8, 8, 1), np.uint8)),
    "codes": pack(RANDOM.normal(size=(50, 2)).astype(np.float32)),
    "labels": pack(RANDOM.integers(0, 10, 50).astype(np.uint8)),
}
FACTS = {"parameters": 1000, "seconds": 5.0, "seed": 1}


def test_plane_report_has_all_figures() -> None:
    errors = {"mse": 0.036, "pca_mse": 0.055, "pca_uncut": 0.056, "pca_purity": 0.4, "pca_codes": SURVEYED["codes"]}
    results = {**FACTS, **JUDGED, **SURVEYED, **errors, "controls": CONTROLS}
    rows = plane.STUDY.rows(results)
    assert rows[0].status == "yes"
    assert {0.1, 0.03, 0.8, 0.25, 0.83, 0.02} <= {row.value for row in rows}
    assert set(plane.STUDY.plot(results)) == {"codes", "plane"}


def test_likelihood_is_compared_with_its_targets() -> None:
    shown = RANDOM.integers(0, 256, (generation.ROWS * generation.COLUMNS, 8, 8, 1), np.uint8)
    likely = {"nll": 87.0, "elbo": 92.0, "items": 10_000, "samples": 1000, **FACTS}
    results = {
        "judged": dict.fromkeys((*generation.PLANES, *generation.DEEP), JUDGED),
        "planes": dict.fromkeys(generation.PLANES, SURVEYED),
        "controls": CONTROLS,
        "likelihood": {"digits-vae": likely, "digits-vae-2d": {**likely, "nll": 130.0}},
        "samples": pack(shown),
        "ways": pack(shown.reshape(generation.ROWS, generation.COLUMNS, 8, 8, 1)),
    }
    rows = generation.STUDY.rows(results)
    assert [row.status for row in rows[:2]] == ["yes", ""]
    assert set(generation.STUDY.plot(results)) == {"planes", "pictures", "samples", "ways"}
    assert "below the target of 88" in generation.STUDY.summary(results)
