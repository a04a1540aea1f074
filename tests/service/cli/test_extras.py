"""Commands of models where the extra `hub` is not installed: folders work, and the rest names the extra."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_models import publish

WITHOUT_HUB = """
import sys
sys.modules.update(dict.fromkeys(("obstore", "cryptography")))  # None: the import fails
sys.argv[0] = "hourglass"
from service.cli.commands import main
main()
"""
EXTRA = "pip install '.[hub]'"


def models(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `hourglass models` without the libraries of the extra."""
    command = [sys.executable, "-c", WITHOUT_HUB, "models", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one model."""
    publish(tmp_path / "models", "digits")
    return tmp_path / "models"


def test_folders_are_verified_pushed_and_pinned_without_it(folder: Path, tmp_path: Path) -> None:
    for words in (
        ("list",),
        ("verify",),
        ("push", "digits@1", "--to", str(tmp_path / "copy")),
        ("pin", "digits@1"),
        ("unpin", "digits"),
    ):
        run = models(*words, "--models-dir", str(folder))
        assert (run.returncode, run.stderr) == (0, ""), words
    assert (tmp_path / "copy/digits/1/card.json").read_bytes() == (folder / "digits/1/card.json").read_bytes()
    assert (tmp_path / "copy/index.json").exists()


@pytest.mark.parametrize(
    ("words", "begin"),
    [
        (("push", "digits@1", "--to", "s3://bucket/models"), "hourglass: --to is the URL 's3://bucket/models'"),
        (("pull", "--from", "s3://bucket/models"), "hourglass: --from is the URL 's3://bucket/models'"),
        (("sign", "digits@1", "--key-file", "key.pem"), "hourglass: signing: install the extra hub"),
    ],
)
def test_what_needs_the_extra_names_it(folder: Path, words: tuple[str, ...], begin: str) -> None:
    run = models(*words, "--models-dir", str(folder))
    message = " ".join(run.stderr.split())
    assert run.returncode == 2
    assert message.startswith(begin)
    assert EXTRA in message
    assert "Traceback" not in message
