"""What the benchmarks of this folder share: memory, a side measured in a process of its own, results for the page."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def resident() -> float:
    """Return the memory held now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Return the most memory ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_side(name: str, **environment: str) -> dict[str, Any]:
    """Run this script again with ``--side name`` in a process of its own, and return what it prints as JSON."""
    command = [sys.executable, *sys.argv, "--side", name]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    return json.loads(result.stdout.splitlines()[-1])


def figure(
    what: str, unit: str, ours: Sequence[float], other: Sequence[float] = (), more: bool = False
) -> dict[str, Any]:
    """Return a line of ``docs/benchmarks.md``: what was measured in every round, ours and the other's.

    ``more`` says that more is better. The other has as many rounds as ours, or one, or none.
    """
    return {"what": what, "unit": unit, "ours": list(ours), "other": list(other), "more": more}


def keep(path: Path | None, how: str, rows: list[dict[str, Any]], other: str = "") -> None:
    """Write the lines, how they were measured, and who the other is, as JSON; without a path do nothing."""
    if path is not None:
        threads = torch.get_num_threads()
        path.write_text(json.dumps({"how": how, "other": other, "threads": threads, "rows": rows}, indent=1) + "\n")
