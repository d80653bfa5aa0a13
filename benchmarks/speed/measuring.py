"""What the benchmarks of this folder share: memory of this process, and a side measured in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def resident() -> float:
    """Return the memory held now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Return the most memory ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_side(name: str, **environment: str) -> dict[str, float]:
    """Run this script again with ``--side name`` in a process of its own, and return what it prints as JSON."""
    command = [sys.executable, *sys.argv, "--side", name]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
    return json.loads(result.stdout.splitlines()[-1])
