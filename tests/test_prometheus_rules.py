"""The rules of deploy/prometheus: their own unit tests, and that they name metrics which the service exports."""

import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

from tests.conftest import Serve, digit, png

FOLDER = Path(__file__).parents[1] / "deploy" / "prometheus"


@pytest.mark.slow
@pytest.mark.skipif(which("promtool") is None, reason="needs promtool, of Debian's package prometheus")
def test_unit_tests_of_the_rules_pass() -> None:
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "tests.yml"]):
        result = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_rules_name_exported_metrics(serve: Serve) -> None:
    client = serve()
    client.post("/reconstruct?model=digits", content=png(digit()))
    exported = set(re.findall(r"^# TYPE (\w+) ", client.get("/metrics").text, re.MULTILINE))
    named = set(re.findall(r"(?<![\w:])hourglass_\w+", (FOLDER / "rules.yml").read_text()))
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
    assert len(bare) >= 6
    assert bare <= exported
