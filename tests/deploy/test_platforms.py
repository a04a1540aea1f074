"""The check of wheels for other platforms: which requirements it looks for, and what it reports as missing."""

from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from deploy.check_platforms import PLATFORMS, lacking, requirements

PACKAGES = {
    "hourglass": ["server; extra == 'cpu'", "Loop>=2; platform_system != 'Windows'", "logs[colour]>=1"],
    "server": ["tables; python_version < '3.12'"],
    "loop": [],
    "logs": ["colours>=3; extra == 'colour' and sys_platform == 'win32'", "docs; extra == 'docs'"],
    "tables": [],
}


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Distribution]:
    """Return the metadata of packages that need each other."""
    for name, needs in PACKAGES.items():
        folder = tmp_path / f"{name}-2.5.dist-info"
        folder.mkdir()
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            "Version: 2.5",
            *(f"Requires-Dist: {text}" for text in needs),
        ]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
    return {package.name: package for package in distributions(path=[str(tmp_path)])}


@pytest.mark.parametrize(
    ("platform", "python", "expected"),
    [
        ("Linux arm64", "3.11", {"server==2.5", "loop==2.5", "logs==2.5", "tables==2.5"}),
        ("Linux arm64", "3.13", {"server==2.5", "loop==2.5", "logs==2.5"}),
        ("Windows x86-64", "3.13", {"server==2.5", "logs==2.5", "colours>=3"}),
    ],
)
def test_requirements_are_those_of_the_platform(
    installed: dict[str, Distribution], platform: str, python: str, expected: set[str]
) -> None:
    markers = {**PLATFORMS[platform][1], "python_version": python}
    assert requirements(installed, "hourglass", markers) == expected


@pytest.mark.slow
def test_requirement_without_a_wheel_is_reported() -> None:
    tags, _ = PLATFORMS["Windows x86-64"]
    assert lacking(["uvloop==0.23.0", "idna==3.11"], tags, "3.12") == ["uvloop==0.23.0"]
