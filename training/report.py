"""The report of the studies: a self-contained HTML page, and the figures as PNG files.

It is drawn from stored results in seconds, without nets or data.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from training import atomic_files
from training.errors import NothingToPlot
from training.studies import STUDIES, Results, Row, Study

PAGE_FILE = "index.html"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid #ddd; padding-top: 1.5rem; }
blockquote { margin: 0; padding-left: 1rem; border-left: 3px solid #1f77b4; font-style: italic; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #e5e5e5; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.yes, .stretch { color: #18794e; font-weight: 600; } .no { color: #b42318; font-weight: 600; }
img { max-width: 100%; height: auto; margin: 1rem 0; } code { background: #f4f4f4; padding: 0.1rem 0.3rem; }
"""
STATUS_LABELS = {"stretch": "stretch goal", "yes": "yes", "no": "no", "": ""}


def save_results(folder: Path, study: Study, results: Results) -> Path:
    """Write the results of a study as JSON to `folder`, and return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study.name}.json"
    atomic_files.write_atomic(path, (json.dumps(results, indent=1) + "\n").encode())
    return path


def write_report(folder: Path) -> Path:
    """Draw the figures of every study with results in `folder`, write the page, and return its path.

    Raises NothingToPlot if the folder contains no results.
    """
    loaded = [(study, _load_results(folder, study)) for study in STUDIES.values()]
    measured = [(study, results) for study, results in loaded if results is not None]
    if not measured:
        raise NothingToPlot(f"{folder} contains no results: run hourglass-train study NAME first")
    sections = [_study_section(folder, study, results) for study, results in measured]
    missing = [study.name for study, results in loaded if results is None]
    page = _page(measured, sections, missing)
    atomic_files.write_atomic(folder / PAGE_FILE, page.encode())
    return folder / PAGE_FILE


def _load_results(folder: Path, study: Study) -> Results | None:
    path = folder / f"{study.name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _study_section(folder: Path, study: Study, results: Results) -> str:
    """Return the HTML section of a study, and write its figures as PNG files."""
    pictures = {name: _png(figure) for name, figure in study.plot(results).items()}
    for name, content in pictures.items():
        atomic_files.write_atomic(folder / f"{study.name}-{name}.png", content)
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in study.summary(results).split("\n\n"))
    return (
        f'<h2 id="{study.name}">{escape(study.title)}</h2><blockquote>{escape(study.question)}</blockquote>'
        f"{paragraphs}<p><code>{escape(study.command)}</code></p>{_table(study.rows(results))}{_images(pictures)}"
    )


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("metric", "measured", "target", "reached", "reference"))
    return f"<table><tr>{head}</tr>{''.join(_table_row(row) for row in rows)}</table>"


def _table_row(row: Row) -> str:
    return (
        f'<tr><td>{escape(row.label)}</td><td class="number">{row.value:.5g}</td><td>{escape(row.target_text)}</td>'
        f'<td class="{row.status}">{STATUS_LABELS[row.status]}</td>'
        f"<td>{escape(row.reference)} ({escape(row.source)})</td></tr>"
    )


def _images(pictures: Mapping[str, bytes]) -> str:
    return "".join(
        f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(content).decode("ascii")}">'
        for name, content in pictures.items()
    )


def _png(figure: Figure) -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _page(measured: list[tuple[Study, Results]], sections: list[str], missing: list[str]) -> str:
    contents = "".join(f'<li><a href="#{study.name}">{escape(study.title)}</a></li>' for study, _ in measured)
    rows = [row for study, results in measured for row in study.rows(results) if row.status]
    reached = sum(row.status != "no" for row in rows)
    note = f"<p>Not measured yet: {escape(', '.join(missing))}.</p>" if missing else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Autoencoders, measured</title><style>{STYLE}</style></head><body><h1>Autoencoders, measured</h1>"
        "<p>Each question of the lecture, the command that answers it, and the measured values with their targets. "
        f"{reached} of {len(rows)} targets are reached.</p>{note}"
        f"<ol>{contents}</ol>{''.join(sections)}</body></html>\n"
    )
