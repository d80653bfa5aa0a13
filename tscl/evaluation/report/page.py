"""From a report's content to the one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from tscl.evaluation.report.content import Report
from tscl.evaluation.report.leakage import sides_of
from tscl.evaluation.report.tables import curves, epochs_table, headline, patient_tables, result_tables
from tscl.files import atomic_file
from tscl.plotting.style import PALETTE

TEMPLATES = files("tscl.evaluation.report") / "templates"
SCRIPTS = ("common.js", "map.js", "curves.js", "tables.js")
ALT = {
    "training": "training curves",
    "forecasts": "forecasts of a stretch of the test part beside what came",
    "anomalies": "anomaly score over time with alarms and labelled anomalies",
    "ranks": "how often the stretch that was heard came at which rank",
    "subjects": "accuracy of every subject",
    "attention": "map of the attention over the sensors",
    "mask": "a window and what the learned augmenter keeps of it",
    "embedding_by": "map of the embedding",
}


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as one HTML file that needs nothing else: no network, no second file.

    Parameters
    ----------
    report : Report
    path : path
        The file; an older one is replaced when the new one is whole.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    DataError
        When the place cannot be written.
    """
    page = render_report(report)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return Path(path)


def render_report(report: Report) -> str:
    """Return the HTML of a report.

    Every text is escaped. A content security policy in the page allows its own scripts, by their hash, and no request.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    import tscl

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    data: dict[str, Any] = {
        "points": None if report.points is None else report.points.to_dict(),
        "curves": [] if report.history is None else curves(report.history),
        "palette": {"light": list(PALETTE), "dark": [lighter(colour) for colour in PALETTE]},
    }
    scripts = ["\n".join(_file(name) for name in SCRIPTS)]
    if data["points"] or data["curves"]:
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n"))
    return environment.from_string(_file("report.html")).render(
        report=report,
        version=tscl.__version__,
        policy=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        style=Markup(_file("report.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(_json(data)),
        palette=list(zip(PALETTE, data["palette"]["dark"], strict=True)),
        points=report.points,
        failed=[check for check in report.checks if not check.passed],
        sides=[] if report.manifest is None else sides_of(report.manifest),
        numbers=[] if report.summary is None else headline(report.summary, report.patients),
        results=[] if report.summary is None else result_tables(report.summary),
        results_text=Markup(_markdown(report.results)),
        patients=[] if report.patients is None else patient_tables(report.patients),
        epochs=None if report.history is None else epochs_table(report.history),
        figures=[
            (base64.b64encode(image).decode(), _alt(Path(name).stem), name) for name, image in report.figures.items()
        ],
        card=Markup(_markdown(report.card)),
    )


def lighter(colour: str, share: float = 0.42) -> str:
    """Mix a colour (``"#rrggbb"``) with white, for dark backgrounds."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(data: dict[str, Any]) -> str:
    """Write JSON that cannot end the element which holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _markdown(text: str) -> str:
    """Return Markdown as HTML: its own HTML escaped, no images, headings from the third level on."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, max(3, int(token.tag[1]) + 1))}"
    html = str(reader.renderer.render(tokens, reader.options, {}))
    scrolling = '<div class="scroll" tabindex="0" role="group" aria-label="table"><table>'
    return html.replace("<table>", scrolling).replace("</table>", "</table></div>").replace("<th>", '<th scope="col">')


def _alt(stem: str) -> str:
    return next((said for name, said in ALT.items() if stem.startswith(name)), stem.replace("_", " "))
