"""Create a virtual environment for each peer: `python -m benchmarks.peers.install [NAME ...]`.

Peers need different versions of the same packages, so each has its own environment. Peers that cannot be installed are
reported with the reason at the end; the others are measured.
"""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

PEERS = Path(__file__).parent
STAMP = ".requirements.sha256"


class CannotInstall(Exception):
    """The packages of a peer cannot be installed on this machine; the message is one sentence."""


def names() -> list[str]:
    """Return the names of all peers."""
    return sorted(path.parent.name for path in PEERS.glob("*/requirements.txt"))


def environment(name: str) -> Path:
    """Return the path of the virtual environment of a peer."""
    return PEERS / ".venvs" / name


def interpreter(name: str) -> Path:
    """Return the Python interpreter of a peer."""
    return environment(name) / "bin" / "python"


def is_installed(name: str) -> bool:
    """Return whether the environment is complete and made from the current requirements."""
    stamp = environment(name) / STAMP
    return stamp.is_file() and stamp.read_text() == _digest(name)


def install(name: str) -> None:
    """Create the environment of a peer; a stamp written last marks it as complete."""
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(environment(name))
    command = [str(interpreter(name)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command += ["--requirement", str(PEERS / name / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotInstall(_reason(done.stderr) or f"pip ended with status {done.returncode}")
    (environment(name) / STAMP).write_text(_digest(name))


def main(selected: Sequence[str]) -> int:
    """Install the named peers, or all; return 0 if at least one of them can run."""
    console = Console(stderr=True)
    known = names()
    if unknown := sorted(set(selected) - set(known)):
        console.print(f"No such peer: {', '.join(unknown)}. There are {', '.join(known)}.", soft_wrap=True)
        return 2
    chosen, failed = list(selected) or known, dict[str, str]()
    for number, name in enumerate(chosen, start=1):
        if is_installed(name):
            console.print(f"{name}: already installed")
            continue
        try:
            with console.status(f"{name}: installing ({number} of {len(chosen)})"):
                install(name)
            console.print(f"{name}: installed")
        except (CannotInstall, OSError, subprocess.CalledProcessError) as error:
            failed[name] = str(error)
    for name, reason in failed.items():
        console.print(f"{name} cannot be installed here: {reason}.", markup=False, soft_wrap=True, style="red")
    return int(len(failed) == len(chosen))


def _digest(name: str) -> str:
    return hashlib.sha256((PEERS / name / "requirements.txt").read_bytes()).hexdigest()


def _reason(stderr: str) -> str:
    """Return the first error line of pip."""
    errors = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[0].partition(" (from versions")[0] if errors else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
