"""The check of the licences of an SBOM."""

from typing import Any

import pytest

from deploy.check_licences import find_problems, is_allowed


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("3-Clause BSD License", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND (GPL-3.0-only OR Apache-2.0)", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR LGPL-3.0-only)", False),
    ],
)
def test_expression_needs_allowed_licences(expression: str, allowed: bool) -> None:
    assert is_allowed(expression) is allowed


def component(name: str, *licences: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "licenses": list(licences)}


def test_package_of_a_refused_licence_is_named() -> None:
    good = component("good", {"license": {"id": "MIT"}})
    bad = component("bad", {"license": {"id": "MIT"}}, {"license": {"name": "Proprietary"}})
    excepted = component("orjson", {"expression": "MPL-2.0 AND (Apache-2.0 OR MIT)"})
    sbom = {"components": [good, bad, excepted, component("silent")]}
    assert find_problems(sbom) == ["bad: Proprietary", "silent: no licence is stated"]
