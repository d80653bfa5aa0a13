"""The page of all benchmarks, written from the results that are there; no figure that was not measured."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from parts import GIVE, PARTS, TARGETS, Part, Target, value_of

INTRODUCTION = """\
Written by `python benchmarks/run.py`; [performance](performance.md) explains what is behind the figures. Each figure
is the median of its rounds, with the lowest and the highest round in brackets. *Times better* is how many times less
time or memory ours takes than the other, or how many times more windows a second it gives; its spread is over rounds,
too. Every part was measured alone, one process after the other, and has its own date, commit and machine."""
QUICK = (
    "**Small sizes, to try the command: these figures say nothing about speed.** Run it without `--quick` to measure."
)
HEADER = ["measured", "unit", "ours", "the other", "times better", "target"]


def number(value: float) -> str:
    """Return three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: list[float]) -> str:
    """Return the median, and the lowest and highest of several."""
    if not values:
        return ""
    around = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return number(statistics.median(values)) + around


def judged(target: Target, row: dict[str, Any], quick: bool) -> str:
    """Return the target, and whether the figure reaches it; small sizes are not judged."""
    values = value_of(row, target.side)
    if quick:
        return target.text
    if not values:
        return f"{target.text}: nothing to compare with"
    return f"{target.text}: {'reached' if target.met(statistics.median(values)) else 'missed'}"


def missing(part: Part, gpu: bool) -> str:
    """Return why a part has no figure."""
    if part.on_gpu and not gpu:
        return "not measured: no GPU was at hand"
    return "not measured yet"


def remedy(part: Part) -> str:
    """Return what measures a part that can be measured here."""
    give = " and ".join(GIVE[one] for one in part.inputs(quick=False))
    return f"Not measured yet: run `python benchmarks/run.py --only {part.name}`" + (f" with {give}." if give else ".")


def table(part: Part, result: dict[str, Any] | None, gpu: bool) -> list[str]:
    """Return the lines of a part's table; a target without a figure has one, too."""
    targets = {(one.what, one.unit): one for one in TARGETS if one.part == part.name}
    lines = []
    for row in result["rows"] if result else ():
        target = targets.pop((row["what"], row["unit"]), None)
        cells = [row["what"], row["unit"], spread(row["ours"]), spread(row["other"])]
        lines.append([*cells, spread(value_of(row, "ratio")), judged(target, row, result["quick"]) if target else ""])
    why = "not measured: the run did not have it" if result else missing(part, gpu)
    lines += [[target.what, target.unit, why, "", "", target.text] for target in targets.values()]
    if not lines:
        return []
    return ["| " + " | ".join(cells) + " |" for cells in (HEADER, ["---"] * len(HEADER), *lines)]


def section(part: Part, result: dict[str, Any] | None, machines: list[dict[str, str]], gpu: bool) -> str:
    """Return heading, how it was measured, and the table."""
    texts = [f"## {part.title}"]
    if result is None:
        why = missing(part, gpu)
        texts.append(remedy(part) if why == "not measured yet" else f"N{why[1:]}.")
    else:
        versions = result["versions"]
        texts.append(
            f"`{result['command']}`: {result['how']}." + (f" The other: {result['other']}." * bool(result["other"]))
        )
        texts.append(
            f"{result['date']}, machine {letter(machines.index(result['machine']))} (load {result['load']} before), "
            f"{result['threads']} thread(s), "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
            + f"; took {result['took']:.0f} s."
        )
    return "\n\n".join([*texts, "\n".join(table(part, result, gpu))]).rstrip()


def letter(index: int) -> str:
    """Return the name of a machine."""
    return chr(ord("A") + index)


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the results that are there, by the name of their part."""
    paths = {part.name: folder / f"{part.name}.json" for part in PARTS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def page(folder: Path, gpu: bool) -> str:
    """Return the page in Markdown; ``gpu`` tells whether the machine on which it is written has one."""
    results = results_of(folder)
    machines: list[dict[str, str]] = []
    for result in results.values():
        if result["machine"] not in machines:
            machines.append(result["machine"])
    texts = ["# Benchmarks", INTRODUCTION]
    if any(result["quick"] for result in results.values()):
        texts.insert(1, QUICK)
    if machines:
        keys = list(machines[0])
        lines = [["machine", *keys], ["---"] * (1 + len(keys))]
        lines += [[letter(index), *(one[key] for key in keys)] for index, one in enumerate(machines)]
        texts += ["## Machines", "\n".join("| " + " | ".join(cells) + " |" for cells in lines)]
    texts += [section(part, results.get(part.name), machines, gpu) for part in PARTS]
    return "\n\n".join(texts) + "\n"
