"""Check the licences of an SBOM (CycloneDX, JSON): each is on the list below, or its package is a named exception."""

import json
import re
import sys
from pathlib import Path
from typing import Any

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Zlib"),
}
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
}
"""Identifiers for the names of packages whose metadata have no identifier."""
EXCEPTIONS = {
    "protobuf": "BSD-3-Clause, by the file LICENSE of its wheel; its metadata state none",
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT): used as it is, so the duty to publish changed files does not arise",
}


def is_allowed(expression: str) -> bool:
    """Return whether a licence expression is satisfied by allowed licences: all parts of AND, or one of OR."""
    text = NAMES.get(expression, expression).strip()
    while inner := re.search(r"\(([^()]*)\)", text):
        text = text.replace(inner.group(0), "MIT" if is_allowed(inner.group(1)) else "refused")
    return any(
        all(NAMES.get(part.strip(), part.strip()) in ALLOWED for part in re.split(r"\sAND\s", choice))
        for choice in re.split(r"\sOR\s", text)
    )


def find_problems(sbom: dict[str, Any]) -> list[str]:
    """Return the packages without a licence or with one that is not allowed, or an empty list."""
    problems: list[str] = []
    for component in sbom.get("components", []):
        entries = component.get("licenses", [])
        licences = [
            entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in entries
        ]
        refused = [licence for licence in licences if not is_allowed(licence)]
        if component["name"] not in EXCEPTIONS and (refused or not licences):
            problems.append(f"{component['name']}: {', '.join(refused) or 'no licence is stated'}")
    return problems


if __name__ == "__main__":
    document = json.loads(Path(sys.argv[1]).read_text())
    for problem in (problems := find_problems(document)):
        print(f"failed: licence of {problem}; see deploy/check_licences.py")
    print(f"licences of {len(document.get('components', []))} packages: {'refused' if problems else 'ok'}")
    sys.exit(bool(problems))
