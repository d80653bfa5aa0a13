"""From tables of numbers to the cells that the page shows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

CHANCE = 0.5
"""AUROC of a classifier that knows nothing."""
NAMES = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "auroc": "AUROC"}
NAMES["auprc"] = "AUPRC"
METHODS = {"probe": "logistic regression", "svm": "support vector machine", "knn": "nearest neighbour"}
METHODS |= {"finetune": "fine-tuned", "direct": "as it is"}


class Number(NamedTuple):
    """A number of the header."""

    label: str
    value: str
    note: str


class Cell(NamedTuple):
    """A number of the results table."""

    value: str
    interval: str


class ResultRow(NamedTuple):
    """A model, method and label fraction."""

    keys: list[str]
    cells: list[Cell]
    track: dict[str, float] | None


class ResultTable(NamedTuple):
    """The results for windows, or for the level that windows vote for."""

    unit: str
    metrics: list[str]
    rows: list[ResultRow]


class PatientRow(NamedTuple):
    """What was predicted for a patient; ``colour`` is the index of the label, ``p`` the probability on the scale."""

    patient: str
    label: str
    colour: int
    p: float
    predicted: str
    correct: bool
    windows: int
    share: float


class PatientTable(NamedTuple):
    """What one model predicted for every patient."""

    name: str
    scale: str
    correct: int
    rows: list[PatientRow]


def result_tables(summary: pd.DataFrame) -> list[ResultTable]:
    """Return a table for every unit, that of the vote before that of windows."""
    units = sorted(summary["unit"].unique(), key=lambda unit: unit == "window")
    metrics = list(dict.fromkeys(summary["metric"]))
    tables = []
    for unit in units:
        rows = []
        of_unit = summary[summary["unit"] == unit]
        for (model, method, fraction), group in of_unit.groupby(["model", "method", "fraction"], sort=False):
            found = group.set_index("metric")
            cells = [_cell(found.loc[metric]) if metric in found.index else Cell("-", "") for metric in metrics]
            keys = [str(model), METHODS.get(str(method), str(method)), _percent(fraction)]
            rows.append(ResultRow(keys, cells, _track(found)))
        tables.append(ResultTable(unit, [NAMES.get(metric, metric) for metric in metrics], rows))
    return tables


def headline(summary: pd.DataFrame, patients: pd.DataFrame | None) -> list[Number]:
    """Return the first model's number, those of the others by the same method, and chance."""
    unit = result_tables(summary)[0].unit
    rows = summary[(summary["unit"] == unit) & (summary["fraction"] == summary["fraction"].max())]
    first = rows.iloc[0]
    rows = rows[(rows["method"] == first["method"]) | (rows["method"] == "direct")]
    metric = "auroc" if rows.loc[rows["metric"] == "auroc", "mean"].notna().any() else "f1"
    how = METHODS.get(first["method"], first["method"])
    numbers = []
    for row in rows[rows["metric"] == metric].to_dict("records"):
        value, interval = _cell(pd.Series(row))
        label = f"{NAMES[metric]} by {unit}: {row['model']}"
        notes = [f"interval {interval}" if interval else "", "" if row["method"] == "direct" else how]
        numbers.append(Number(label, value.split(" ")[0], ", ".join(filter(None, notes))))
    if metric == "auroc":
        numbers.append(Number("AUROC by chance", f"{CHANCE:.3f}", "for any classes"))
    if patients is not None:
        table = patient_tables(patients)[0]
        n, share = len(table.rows), f"{first['model']}, {how}"
        numbers.append(Number("Predicted correctly", f"{table.correct} of {n}", f"the vote of the windows; {share}"))
    return numbers


def patient_tables(patients: pd.DataFrame) -> list[PatientTable]:
    """Return a table for every model, method and label fraction, sorted by label and probability."""
    classes = [name[2:-1] for name in patients.columns if name.startswith("p(")]
    two = len(classes) == 2
    scale = f"probability of {classes[1]}" if two else "probability of its own label"
    tables = []
    for (model, method, fraction), group in patients.groupby(["model", "method", "fraction"], sort=False):
        rows = []
        for row in group.to_dict("records"):
            label = str(row["label"])
            rows.append(
                PatientRow(
                    patient=str(row["patient"]),
                    label=label,
                    colour=classes.index(label),
                    p=row[f"p({classes[1] if two else label})"],
                    predicted=str(row["predicted"]),
                    correct=bool(row["correct"]),
                    windows=row["windows"],
                    share=row["correct_windows"],
                )
            )
        rows.sort(key=lambda row: (row.colour, row.p, row.patient))
        name = f"{model}, {METHODS.get(str(method), method)}, {_percent(fraction)} of the labels"
        tables.append(PatientTable(name, scale, sum(row.correct for row in rows), rows))
    return tables


def epochs_table(history: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the names of the logged values and, a row an epoch, their text."""
    means = _by_epoch(history)
    values = means.to_numpy(dtype=float)
    rows = [[f"{epoch:g}", *map(_short, row)] for epoch, row in zip(means.index, values, strict=True)]
    return [str(name) for name in means.columns], rows


CURVES = {
    "Representation": ("alignment", "uniformity", "effective_rank"),
    "Scores on validation windows": ("accuracy", "precision", "recall", "f1", "auroc", "auprc"),
}


def curves(history: pd.DataFrame) -> list[dict[str, Any]]:
    """Group the logged values into losses, diagnostics and scores, ready for JSON."""
    means = _by_epoch(history)
    groups: dict[str, list[dict[str, Any]]] = {"Losses": [], **{name: [] for name in CURVES}}
    for column in means.columns:
        line = means[column].dropna()
        line = line[np.isfinite(line)]
        last = str(column).split("/")[-1]
        group = next((name for name, members in CURVES.items() if last in members), "Losses")
        groups[group].append({"name": str(column), "epochs": line.index.tolist(), "values": line.tolist()})
    return [{"name": name, "lines": lines} for name, lines in groups.items() if lines]


def _by_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """Return the means of an epoch, without the similarities of pairs, which have a figure of their own."""
    means = history.groupby("epoch").mean().drop(columns="step", errors="ignore")
    means = means[[name for name in means.columns if not str(name).startswith("score/")]]
    return means.dropna(axis=1, how="all")


def _cell(row: pd.Series) -> Cell:
    mean, sd, low, high = (float(row[name]) for name in ("mean", "sd", "low", "high"))
    if np.isnan(mean):
        return Cell("-", "")
    spread = "" if np.isnan(sd) else f" ± {sd:.3f}"
    return Cell(f"{mean:.3f}{spread}", "" if np.isnan(low) else f"[{low:.2f}, {high:.2f}]")


def _track(found: pd.DataFrame) -> dict[str, float] | None:
    if "auroc" not in found.index or found.loc["auroc", ["mean", "low", "high"]].isna().any():
        return None
    auroc = found.loc["auroc"].to_dict()
    return {name: 100 * auroc[name] for name in ("mean", "low", "high")}


def _percent(fraction: Any) -> str:
    return f"{100 * fraction:g} %"


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"
