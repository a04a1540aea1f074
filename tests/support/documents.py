"""Runs the examples of the documents."""

import re
import shutil
import subprocess
from pathlib import Path

from service.config import Settings
from tests.conftest import listening

ROOT = Path(__file__).parents[2]


def run_curl_examples(text: str, folder: Path) -> int:
    """Run every curl command of a text against the shipped models, in a folder with a copy of docs/.

    Return the number of commands. Fails if a command fails or gives no output.
    """
    examples = re.findall(r"^curl (?:.*\\\n)*.*$", text, re.MULTILINE)
    shutil.copytree(ROOT / "docs", folder / "docs")
    defaults = {"default_denoise": "photo"} | {
        f"default_{operation}": "digits" for operation in ("encode", "decode", "reconstruct")
    }
    settings = Settings.model_validate({"models_dir": ROOT / "models", "model_watch": "off", **defaults})
    with listening(settings) as address:
        for example in examples:
            local = example.replace("localhost:8000", address.removeprefix("http://"))
            command = local.replace("curl ", "curl -sSf ", 1)
            run = subprocess.run(["bash", "-c", command], check=False, capture_output=True, cwd=folder)
            assert run.returncode == 0, (example, run.stderr)
            assert run.stdout or any(path.is_file() for path in folder.iterdir()), example
    return len(examples)
