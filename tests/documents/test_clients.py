"""The examples of docs/clients.md run as they are, each where its tools are installed."""

import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from docs.api_pages import DOCS
from tests.support.documents import ROOT, run_curl_examples
from tests.support.environments import environment
from tests.support.generated_client import GENERATE, generate_python, node_project
from tests.support.processes import free_port, serving

pytestmark = pytest.mark.slow

TEXT = (DOCS / "clients.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
DEFAULTS = ("--default-encode", "digits", "--default-denoise", "photo")


def example(language: str) -> str:
    """Return the only example in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture(scope="module")
def ports() -> Generator[tuple[str, str]]:
    """Serve the shipped models, and return the addresses of HTTP and gRPC."""
    port = free_port()
    with serving(ROOT / "models", *DEFAULTS, "--grpc-port", str(port)) as (address, _):
        yield address.removeprefix("http://"), f"localhost:{port}"


def run(command: list[str], suffix: str, text: str, ports: tuple[str, str], folder: Path) -> str:
    """Run an example as a file, and return what it prints."""
    file = folder / f"Denoise{suffix}"
    file.write_text(text.replace("localhost:8000", ports[0]).replace("localhost:8001", ports[1]))
    completed = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert completed.returncode == 0, completed.stderr[-2000:]
    return completed.stdout


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_examples(number: int, ports: tuple[str, str], tmp_path: Path) -> None:
    text = PYTHON[number]
    if "hourglass_client" in text:
        python = generate_python(f"http://{ports[0]}", tmp_path)
    else:
        python = environment("triton" if "tritonclient" in text else "kserve")  # KServe's has httpx
    printed = run([str(python)], ".py", text, ports, tmp_path)
    assert re.search(r"\d+ \d+|\(\d+, \d+", printed)


@pytest.mark.parametrize(
    ("command", "language", "suffix"),
    [(["node"], "js", ".mjs"), (["go", "run"], "go", ".go"), (["java"], "java", ".java")],
    ids=["node", "go", "java"],
)
def test_examples_of_other_languages(
    command: list[str], language: str, suffix: str, ports: tuple[str, str], tmp_path: Path
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    sigma, size = run(command, suffix, example(language), ports, tmp_path).split()
    assert float(sigma) > 0
    assert int(size) > 1000


def test_typescript_example(ports: tuple[str, str], tmp_path: Path) -> None:
    """Run the commands beside the example as they are."""
    (commands,) = re.findall(r"^```bash\n(npx .*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    node_project(tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "client.ts").write_text(example("ts").replace("localhost:8000", ports[0]))
    script = commands.replace("localhost:8000", ports[0])
    printed = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert printed.returncode == 0, printed.stdout + printed.stderr
    sigma, size = printed.stdout.splitlines()[-1].split()
    assert 0 < float(sigma) < 1
    assert int(size) > 1000


def test_generator_command_is_the_documented_one() -> None:
    """The example of a generated client runs with a package that GENERATE makes."""
    assert " ".join(GENERATE) in TEXT


def test_curl_examples(tmp_path: Path) -> None:
    assert run_curl_examples(example("sh"), tmp_path) == 1
