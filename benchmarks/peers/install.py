"""Makes a virtual environment for each peer: `python -m benchmarks.peers.install [NAME ...]`.

Peers cannot share one, nor ours: they want different versions of the same packages. One that cannot be installed here
is named with the reason at the end, and the others are measured all the same.
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
    """A peer's packages cannot be had on this machine; says why in one sentence."""


def names() -> list[str]:
    """Every peer there is."""
    return sorted(path.parent.name for path in PEERS.glob("*/requirements.txt"))


def environment(name: str) -> Path:
    """Where the peer's virtual environment is, or would be."""
    return PEERS / ".venvs" / name


def interpreter(name: str) -> Path:
    """The Python that runs the peer."""
    return environment(name) / "bin" / "python"


def is_installed(name: str) -> bool:
    """Whether the environment was finished, and from the requirements as they are now."""
    stamp = environment(name) / STAMP
    return stamp.is_file() and stamp.read_text() == _digest(name)


def install(name: str) -> None:
    """Makes the peer's environment anew; the stamp comes last, so a broken one is never taken for finished."""
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(environment(name))
    command = [str(interpreter(name)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command += ["--requirement", str(PEERS / name / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotInstall(_reason(done.stderr) or f"pip ended with status {done.returncode}")
    (environment(name) / STAMP).write_text(_digest(name))


def main(selected: Sequence[str]) -> int:
    """Installs the peers named, or all; 0 if at least one of them can be run."""
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
    """Pip's first complaint: what follows it is mostly where to read on."""
    errors = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[0].partition(" (from versions")[0] if errors else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
