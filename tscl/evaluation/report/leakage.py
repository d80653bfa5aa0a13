"""The leakage statement: who stood on which side, and what was checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from tscl.data.leakage import name_some
from tscl.data.splits import Split
from tscl.errors import LeakageError
from tscl.evaluation.report.content import Check

SIDES = {"train": "training", "val": "validation", "test": "test"}


class Side(NamedTuple):
    """A row of the table of sides."""

    name: str
    ids: list[str]
    windows: int
    classes: str


def sides_of(manifest: Mapping[str, Any]) -> list[Side]:
    """Return the sides that a split manifest names, with their ids, number of windows and classes."""
    rows = []
    for side, name in SIDES.items():
        said = manifest.get(side, {})
        classes = ", ".join(f"{value} ({count})" for value, count in said.get("classes", {}).items())
        rows.append(Side(name, [str(one) for one in said.get("ids", [])], said.get("windows", 0), classes))
    return rows


def check_manifest(manifest: Mapping[str, Any]) -> list[Check]:
    """Check that no id, or no stretch of time, of a manifest stands on two sides; patients are named where they do."""
    if manifest["by"] == "time":
        train, test = manifest["train"]["to"], manifest["test"]["from"]
        passed = pd.Timestamp(train) < pd.Timestamp(test)
        return [Check(passed, f"The training part ends at {train}; the test part begins at {test}.")]
    checks = []
    for key, level in {"ids": manifest["by"], "patients": "patient"}.items():
        if key not in manifest["train"]:
            continue
        sides = {name: {str(one) for one in manifest.get(side, {}).get(key, [])} for side, name in SIDES.items()}
        pairs = combinations(sides.items(), 2)
        shared = [f"{a} and {b} share {name_some(sorted(x & y))}" for (a, x), (b, y) in pairs if x & y]
        said = "; ".join(shared) or "no id stands on two sides"
        checks.append(Check(not shared, f"By {level}: {said}."))
    return checks


def check_split(split: Split) -> Check:
    """Run the leak guard on the windows themselves: ids of every finer level, and overlap in time."""
    try:
        split.check()
    except LeakageError as error:
        return Check(False, str(error))
    finer = split.train.levels[split.train.levels.index(split.by) :]
    return Check(
        True,
        f"Checked on the recordings when this report was written: no {' or '.join(finer)} stands on two sides, and no "
        "windows of one file overlap in time across the sides.",
    )


def check_tested(manifest: Mapping[str, Any], tested: Iterable[str]) -> Check:
    """Check that nobody whom the results were measured on was trained or chosen on."""
    by, ids = manifest["by"], set(tested)
    seen = {str(one) for side in ("train", "val") for one in manifest.get(side, {}).get("ids", [])}
    both = sorted(ids & seen)
    if both:
        return Check(
            False,
            f"Training saw {len(both)} of the {len(ids)} {by} ids that the results were measured on: "
            f"{name_some(both)}. The numbers are not those of unseen ones.",
        )
    return Check(True, f"None of the {len(ids)} {by} ids that the results were measured on was seen in training.")
