"""Check by metadata that every package of an environment has a wheel for each platform and Python that we name.

    python deploy/check_platforms.py ENVIRONMENT

Nothing is installed. That a wheel exists does not say that the service was run there.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13")
GLIBC_2_28 = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 29)))
PLATFORMS: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
    "Linux x86-64": (
        [f"{tag}_x86_64" for tag in GLIBC_2_28],
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    ),
    "Linux arm64": (
        [f"{tag}_aarch64" for tag in GLIBC_2_28],
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64", "os_name": "posix"},
    ),
    "macOS 14 arm64": (
        ["macosx_14_0_arm64"],
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    ),
    "macOS 14 x86-64": (
        ["macosx_14_0_x86_64"],
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "x86_64", "os_name": "posix"},
    ),
    "Windows x86-64": (
        ["win_amd64"],
        {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
    ),
}
"""The tags of wheels that a platform takes, and the values of its markers."""
LACKING = {"macOS 14 x86-64": {"onnxruntime"}}
"""Packages known to have no wheel for a platform. docs/deployment.md says so."""


def requirements(installed: Mapping[str, Distribution], root: str, markers: Mapping[str, str]) -> set[str]:
    """Return what `root` with the extra `cpu` needs where the markers have these values.

    Packages that the environment has are pinned to its versions. Those that only another platform needs are not.
    """
    needed: set[str] = set()
    seen: set[tuple[str, str]] = set()
    pending = [(root, "cpu"), (root, "")]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in installed[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({**markers, "extra": extra}):
                continue
            package = canonicalize_name(requirement.name)
            if package in installed:
                needed.add(f"{package}=={installed[package].version}")
                pending += [(package, ""), *((package, extra) for extra in requirement.extras)]
            else:
                needed.add(f"{package}{requirement.specifier}")
    return needed


def lacking(needed: Sequence[str], tags: Sequence[str], python: str) -> list[str]:
    """Return the requirements for which pip finds no wheel."""
    missing: list[str] = []
    while name := _first_lacking([text for text in needed if text not in missing], tags, python):
        missing.append(name)
    return missing


def _first_lacking(needed: Sequence[str], tags: Sequence[str], python: str) -> str | None:
    options = ["--dry-run", "--quiet", "--ignore-installed", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    platforms = [f"--platform={tag}" for tag in tags]
    with tempfile.TemporaryDirectory() as target:
        pip = [sys.executable, "-m", "pip", "install", *options, f"--python-version={python}", *platforms]
        command = [*pip, "--target", target, *needed]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pinned names
    if completed.returncode == 0:
        return None
    names = re.findall(r"No matching distribution found for (\S+)", completed.stderr)
    if not names or names[0] not in needed:
        raise RuntimeError(completed.stderr)
    return names[0]


def main(environment: Path) -> int:
    """Print a line for each platform and Python, and return 1 if one lacks a wheel that is not known to be missing."""
    (site,) = [*environment.glob("lib/python*/site-packages"), *environment.glob("Lib/site-packages")]
    installed: dict[str, Distribution] = {
        canonicalize_name(package.name): package for package in distributions(path=[str(site)])
    }
    failed = False
    for platform, (tags, markers) in PLATFORMS.items():
        for python in PYTHONS:
            values = {**markers, "python_version": python, "python_full_version": f"{python}.0"}
            needed = sorted(requirements(installed, "hourglass", values))
            missing = lacking(needed, tags, python)
            unexpected = [text for text in missing if text.partition("==")[0] not in LACKING.get(platform, ())]
            failed = failed or bool(unexpected)
            print(
                f"{platform}, Python {python}: {len(needed)} packages, without a wheel: {', '.join(missing) or 'none'}"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
