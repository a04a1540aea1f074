"""Generates the tables of what is accepted and refused, from the outcomes of the marked tests.

`make compatibility` runs the tests and stores their outcomes in docs/compatibility.json.
"""

import json
import re
from typing import Any

from docs.api_pages import DOCS
from docs.markdown import table
from tests.support.compatibility import KINDS

OUTCOMES = DOCS / "compatibility.json"
ORDER = ("accepted", "refused", "not verified")


def compatibility() -> str:
    """Return a section for each kind: what is accepted, what is refused and why, and what was not verified."""
    stored: list[dict[str, Any]] = json.loads(OUTCOMES.read_text("utf-8"))
    return "\n\n".join(_section(number, [row for row in stored if row["kind"] == number]) for number in KINDS)


def _section(number: int, stored: list[dict[str, Any]]) -> str:
    rows: list[tuple[str, list[str]]] = []
    for row in stored:
        oracle = f"compared with {row['why']}" if row["verdict"] == "accepted" else row["why"]
        for outcome in sorted(set(row["cases"].values())):
            verdict = "not verified" if outcome else row["verdict"]
            reason = f"{outcome} (would be {row['verdict']})" if outcome else oracle
            names = [_literal(case) for case, reached in row["cases"].items() if case and reached == outcome]
            rows.append((verdict, [f"**{verdict}**", row["what"], ", ".join(names), reason]))
    rows.sort(key=lambda row: ORDER.index(row[0]))
    return f"## {number}. {KINDS[number]}\n\n" + table(
        ["verdict", "what", "cases", "why"], [cells for _, cells in rows]
    )


def _literal(case: str) -> str:
    """Return a case as code, where it holds characters that Markdown would interpret."""
    if re.fullmatch(r"[\w ,:;.=/+()-]*", case, re.ASCII) and "_" not in case:
        return case
    fence = "``" if "`" in case else "`"
    return f"{fence}{case}{fence}"
