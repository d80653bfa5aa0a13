"""``tscl report``: everything of a run in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tscl.cli.fit import CONFIG
from tscl.cli.run import PATIENTS, RESULTS, SUMMARY, kind_of, open_run, root_options
from tscl.data import Split
from tscl.encoders.storage import ARCHITECTURE, WEIGHTS
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.evaluation.contexts import device_for
from tscl.evaluation.report import Check, EmbeddingPoints, Report, embedding_points, write_report
from tscl.evaluation.report.leakage import check_manifest, check_split, check_tested
from tscl.learners.run_folder import CARD, METRICS, read_manifest

WHAT = {
    "windows": "An encoder of windows of recordings, trained without labels",
    "series": "An encoder of one long series, judged by its forecasts",
    "anomalies": "An encoder of one long series, judged by the anomalies that it finds",
    "speech": "An encoder of brain signals, trained to tell which speech was heard",
}
SIDES = {"train": "training", "val": "validation", "test": "test"}


def report_run(
    run: Path,
    out: Path | None = None,
    root: Path | None = None,
    pooling: str = "max",
    points: int = 2000,
    accelerator: str = "auto",
) -> None:
    """Write one HTML file that opens offline: results, patients, embedding map, losses, leakage statement, model card.

    Args:
        run: Folder of a finished run; what ``tscl evaluate`` wrote into it is told as well.
        out: File to write, .html, in the place of an older one; report.html in the run's folder by default.
        root: Folder of the run's recordings, where they have moved.
        pooling: How the embeddings of the map are pooled over time.
        points: Most windows in the embedding map.
        accelerator: auto, cpu or gpu.
    """
    out = run / "report.html" if out is None else out
    if out.suffix != ".html":
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}: write to .html.")
    if not out.parent.is_dir() and out.parent != run:
        raise DataNotFoundError(f"{out.parent} is no folder: create it, or write the report elsewhere with --out.")
    if points < 2:
        raise ConfigError(f"--points is {points}: the embedding map needs at least 2 windows.")
    manifest = read_manifest(run)
    missing = [name for name in (CONFIG, CARD, ARCHITECTURE, WEIGHTS) if not (run / name).exists()]
    if missing:
        raise DataNotFoundError(
            f"{run} holds an unfinished run ({missing[0]} is missing): resume it with tscl fit --ckpt_path last."
        )
    kind = kind_of(["--run", str(run)])
    checks = check_manifest(manifest)
    notes: dict[str, str] = {}
    drawn = None
    if kind == "windows":
        drawn, more = _map(run, root, pooling, points, accelerator, notes)
        checks += more
    results = _results(run, kind, manifest, checks, notes)
    card = (run / CARD).read_text().split("\n## Results")[0].removeprefix("# Model card").strip()
    report = Report(
        title=run.resolve().name,
        lead=_lead(kind, manifest),
        manifest=manifest,
        checks=checks,
        points=drawn,
        history=pd.read_csv(run / METRICS) if (run / METRICS).exists() else None,
        figures=_figures(run),
        card=card,
        config=(run / CONFIG).read_text(),
        notes=notes,
        **results,
    )
    write_report(report, out)
    print(f"the report is in {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _map(
    run: Path, root: Path | None, pooling: str, points: int, accelerator: str, notes: dict[str, str]
) -> tuple[EmbeddingPoints | None, list[Check]]:
    """Return the embedding map, and the leak guard's word on the windows; a note where there are no recordings."""
    try:
        opened = open_run(run, root_options(root, run))
    except DataNotFoundError as error:
        if root is not None:
            raise
        notes["map"] = f"There is no map, because the recordings were not found: {error} Name them with --root."
        return None, []
    split: Split = opened.split()
    try:
        drawn = embedding_points(
            opened.encoder, split.sides, pooling=pooling, limit=points, device=device_for(accelerator)
        )
    except DataError as error:
        notes["map"] = f"There is no map: {error}"
        return None, [check_split(split)]
    return drawn, [check_split(split)]


def _results(
    run: Path, kind: str, manifest: Mapping[str, Any], checks: list[Check], notes: dict[str, str]
) -> dict[str, Any]:
    """Read what ``tscl evaluate`` wrote; a note says what to run where there is nothing."""
    folder = run / RESULTS
    if not (folder / "results.md").exists():
        notes["results"] = f"This run has not been judged yet: tscl evaluate --run {run}, then write the report again."
        return {}
    text = (folder / "results.md").read_text()
    if kind != "windows" or not (folder / SUMMARY).exists():
        return {"results": text}
    patients = pd.read_csv(folder / PATIENTS, dtype={"patient": str, "label": str, "predicted": str})
    if manifest["by"] == "patient":
        checks.append(check_tested(manifest, patients["patient"]))
    return {"summary": pd.read_csv(folder / SUMMARY), "patients": patients, "statement": text.split("\n")[0]}


def _lead(kind: str, manifest: Mapping[str, Any]) -> str:
    by = manifest["by"]
    if by == "time":
        return f"{WHAT[kind]}; trained on {manifest['source']} up to {manifest['train']['to']}."
    counts = ", ".join(f"{len(manifest[side]['ids'])} {name}" for side, name in SIDES.items())
    return f"{WHAT[kind]}; {by} ids on each side: {counts}."


def _figures(run: Path) -> dict[str, bytes]:
    """Return the run's figures; the training curves are drawn by the report itself."""
    paths = [*sorted((run / "figures").glob("*.png")), *sorted((run / RESULTS).glob("*.png"))]
    return {path.name: path.read_bytes() for path in paths if path.name != "training.png"}
