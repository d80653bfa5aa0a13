"""Ten thousand recordings become windows: time and memory as their number grows.

    python benchmarks/speed/store_recordings.py [--recordings 10000] [--folder SCRATCH]

More and more small files are prepared, each number in a process of its own, into a store and in memory. Printed are
time, memory until the last window is written (beyond the start, and all that the process holds), memory with the table
of all windows, and the exponents with which they grow (1 is linear, 0 is flat).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from measuring import figure, keep, resident
from store import LEVELS

from tscl.data import Preprocessing, Source, WindowStore, prepare
from tscl.data.preprocessing import SlidingWindows

GROWING = {
    "seconds": "s",
    "cpu": "s of a processor",
    "windows": "MB of windows",
    "prepare": "MB to prepare",
    "held": "MB held, all in all, until the last window was written",
    "table": "MB with the table",
}


def recordings(args: argparse.Namespace) -> None:
    """Time and memory of preparing more and more files."""
    most = args.recordings
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        rng = np.random.default_rng(0)
        for number in range(most):
            data = rng.normal(size=(4, 2000)).astype("float32")
            np.savez(Path(scratch) / f"{number:06d}.npz", X=data, sfreq=100.0, ch_names=list("abcd"))
        print(
            "| recordings | where | seconds | of a processor | MB of windows | MB to prepare | MB held in all | "
            "MB with the table |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for where in ("store", "memory"):
            done: list[dict[str, float]] = []
            for count in (most // 10, most * 3 // 10, most):
                command = [sys.executable, __file__, "--one", where, "--folder", scratch, "--recordings", str(count)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                done.append(json.loads(said.splitlines()[-1]))
                row = done[-1]
                name = f"{count:,} recordings, {where}"
                rows += [figure(name, unit, [row[key]]) for key, unit in GROWING.items()]
                print(f"| {count} | {where} | " + " | ".join(f"{row[key]:.1f}" for key in GROWING) + " |", flush=True)
            for key, unit in GROWING.items():
                grows = math.log(done[-1][key] / done[0][key]) / math.log(done[-1]["count"] / done[0]["count"])
                print(f"{key} ({where}) grows with exponent {grows:.2f}")
                rows.append(
                    figure(f"{done[0]['count']:,} to {most:,} recordings, {where}", f"exponent of {unit}", [grows])
                )
    keep(args.json, "files of 4 channels x 20 s at 100 Hz, one worker, each number in a process of its own", rows)


def high() -> float:
    """The most memory that was held since the last look at it was reset, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def one(args: argparse.Namespace) -> None:
    """One number of recordings, in a process of its own."""
    paths = sorted(args.folder.glob("*.npz"))[: args.recordings]
    sources = [Source(p, {"patient": p.stem[:5], "recording": p.stem}, {"sick": int(p.stem) % 2}) for p in paths]
    recipe = Preprocessing(windows=SlidingWindows(1.0))
    warm = args.folder / f"warm-{os.getpid()}"
    for cache in (None, warm):
        prepare(sources[:3], recipe, levels=LEVELS, cache=cache, progress=False)
    shutil.rmtree(warm)
    cache = args.folder / f"cache-{os.getpid()}" if args.one == "store" else None
    opened, until_written = WindowStore.__init__, []

    def noted(self: WindowStore, folder: Path) -> None:
        until_written.append(high())
        opened(self, folder)

    WindowStore.__init__ = noted
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")
    begun, worked = time.perf_counter(), time.process_time()
    data = prepare(sources, recipe, levels=LEVELS, cache=cache, progress=False)
    took, cpu = time.perf_counter() - begun, time.process_time() - worked
    n, c, t = data.shape
    until_written.append(high())
    row = {"count": len(paths), "seconds": took, "cpu": cpu, "windows": n * c * t * 4 / 2**20}
    row |= {"prepare": until_written[0] - before, "held": until_written[0], "table": high() - before}
    if cache is not None:
        shutil.rmtree(cache)
    print(json.dumps(row))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=10000)
    parser.add_argument("--folder", type=Path, help="scratch space")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--one", choices=["store", "memory"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options)
    else:
        recordings(options)
