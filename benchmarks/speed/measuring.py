"""What the benchmarks of this folder share: memory, a side in a process of its own, where the time goes, results."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode


def resident() -> float:
    """Return the memory held now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Return the most memory ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wait_for(device: str) -> None:
    """Wait until the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def held(device: str, before: float) -> float:
    """Return the most memory taken on the device, in MB; on a CPU beyond what the process held before."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak() - before


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


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Return what a learner trains in: bfloat16 for ``bf16``, nothing else for ``fp32``."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")


def name_part(owner: Any, method: str, part: str) -> None:
    """Let the profiler see the calls of a method as a part of the step."""
    inner = getattr(owner, method)

    def named(*args: Any, **kwargs: Any) -> Any:
        with record_function(part):
            return inner(*args, **kwargs)

    setattr(owner, method, named)


def print_profile(step: Callable[[], Any], parts: list[str], steps: int = 3, rows: int = 14) -> None:
    """Print which share of a step the named parts take, and which share of the processor's time each operator."""
    step()
    begin = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            step()
    wall = time.perf_counter() - begin
    events = list(seen.key_averages())
    print(f"{wall / steps:.3f} s a step under the profiler; share of it by part:")
    for part in parts:
        inclusive = sum(one.cpu_time_total for one in events if one.key == part)
        print(f"{100 * inclusive / 1e6 / wall:6.1f} %  {part}")
    operators = [one for one in events if one.key not in parts]
    total = sum(one.self_cpu_time_total for one in operators)
    print("share of self CPU time by operator:")
    for one in sorted(operators, key=lambda one: -one.self_cpu_time_total)[:rows]:
        print(f"{100 * one.self_cpu_time_total / total:6.1f} %  {one.key} ({one.count // steps} calls a step)")


class _Convolutions(TorchDispatchMode):
    """Note the convolutions that run, forward and backward, with what they are called with."""

    kinds = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.kinds:
            self.calls.append((func, tuple(one.detach() if isinstance(one, torch.Tensor) else one for one in args)))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def share_of_convolutions(forward_backward: Callable[[], Any], rounds: int = 5) -> tuple[float, float]:
    """Return the seconds of a forward and backward pass, and of its convolutions alone: medians, in turn."""
    with torch.enable_grad(), _Convolutions() as noted:
        forward_backward()
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        with torch.enable_grad():
            forward_backward()
        between = time.perf_counter()
        for call, args in noted.calls:
            call(*args)
        times.append((between - begin, time.perf_counter() - between))
    whole, alone = zip(*times[1:], strict=True)
    return statistics.median(whole), statistics.median(alone)
