"""The examples of docs/embeddings.md run as they are, beside the shipped models."""

import re
import subprocess
from pathlib import Path

import pytest

from docs.api_pages import DOCS
from tests.support.documents import ROOT
from tests.support.environments import environment
from tests.support.processes import serving

pytestmark = pytest.mark.slow


def test_codes_are_stored_searched_and_decoded(tmp_path: Path) -> None:
    python = environment("embeddings")
    text = (DOCS / "embeddings.md").read_text("utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    program = program.replace('"codes.lance"', repr(str(tmp_path / "codes.lance")))
    with serving(ROOT / "models", "--default-encode", "digits", "--default-decode", "digits") as (address, _):
        program = program.replace("http://localhost:8000", address)
        run = subprocess.run([str(python), "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    count, nearest, _, _, decoded = run.stdout.splitlines()
    assert re.fullmatch(r"8 codes of \d+ numbers", count)
    assert nearest.startswith("3 ")
    error = re.fullmatch(r"decoded \(2, 28, 28, 1\), ([\d.]+) grey levels from the image on average", decoded)
    assert error is not None
    assert float(error[1]) < 20
