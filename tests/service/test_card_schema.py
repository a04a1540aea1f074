"""The committed JSON schema of the card equals that of the code."""

from pathlib import Path

from training.export.publish import SCHEMA_FILE, write_schema

ROOT = Path(__file__).parents[2]


def test_card_schema_is_current(tmp_path: Path) -> None:
    fresh = write_schema(tmp_path).read_text()
    assert (ROOT / "models" / SCHEMA_FILE).read_text() == fresh, "run: hourglass-train schema"
