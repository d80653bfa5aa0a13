"""Time the embeddings of every hour of ETTh1: one pass of a causal encoder against a window for each hour.

    python benchmarks/speed/causal_encode.py --path ../shared/data/ett/ETTh1.csv

Input are the target OT and seven calendar features, standardised (8 channels, 17,420 steps). The encoder's receptive
field fits into the windows' context (200 steps and their own), so that both give the same numbers, and the largest
difference is printed, relative to the standard deviation of the embeddings. The windows are timed on a stretch from the
middle of the series (``--windows`` and the context before them) and scaled to all; ``--windows 0`` encodes all. For the
default encoder (depth 10), whose receptive field is longer than any such window, one pass alone is timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import figure, keep

from tscl.data import load_task
from tscl.encoders import CausalConvEncoder
from tscl.evaluation import embed_series

CONTEXT = 200


def timed(encoder: CausalConvEncoder, x: np.ndarray, method: str, repeats: int = 1) -> tuple[list[float], np.ndarray]:
    """Return the time of each call, in seconds, and the embeddings."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        z = embed_series(encoder, x, method=method, context=CONTEXT)
        times.append(time.perf_counter() - begin)
    return times, z


def compare(x: np.ndarray, dim: int, n_windows: int, repeats: int) -> list[dict[str, Any]]:
    """Print and return times, their ratio and the difference for an encoder that sees 188 steps."""
    encoder = CausalConvEncoder(len(x), dim=dim, depth=3)
    n_steps = x.shape[1]
    count = n_windows or n_steps
    first = (n_steps - count) // 2
    part = x[:, max(0, first - CONTEXT) : first + count]
    times, z = timed(encoder, x, "one_pass", repeats)
    [seconds], windows = timed(encoder, part, "sliding")
    one, sliding = statistics.median(times), seconds * n_steps / part.shape[1]
    difference = np.abs(z[first : first + count] - windows[-count:]).max() / z.std()
    print(
        f"dim {dim}, depth 3, receptive field {encoder.receptive_field}: one pass {one:.2f} s, sliding {sliding:.0f} s "
        f"(timed on {part.shape[1]} of {n_steps} windows), ratio {sliding / one:.0f}, "
        f"largest relative difference {difference:.1e}",
        flush=True,
    )
    name = f"dim {dim}, depth 3"
    return [
        figure(name, "s", times, [sliding]),
        figure(name, "largest difference / standard deviation", [float(difference)]),
    ]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="ETTh1.csv")
    parser.add_argument("--windows", type=int, default=1024, help="windows that are timed; 0: all")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 320])
    parser.add_argument("--repeats", type=int, default=3, help="calls of one pass, of which the median is taken")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x = load_task(args.path).x
    print(f"torch {torch.__version__}, {args.threads} thread(s), series {x.shape}")
    rows = []
    for dim in args.dims:
        rows += compare(x, dim, args.windows, args.repeats)
        deep = CausalConvEncoder(len(x), dim=dim)
        times, _ = timed(deep, x, "one_pass", args.repeats)
        one = f"{statistics.median(times):.2f} s"
        print(f"dim {dim}, depth 10, receptive field {deep.receptive_field}: one pass {one}", flush=True)
        rows.append(figure(f"dim {dim}, depth 10", "s", times))
    how = (
        f"{args.threads} thread(s), {len(x)} channels, {x.shape[1]:,} steps; {args.repeats} rounds of one pass; a "
        f"window for every step timed on {args.windows or x.shape[1]:,} and its context and scaled to all"
    )
    keep(args.json, how, rows, "a window for every step")


if __name__ == "__main__":
    main()
