"""Time COMET training on two processes against one process, with the same batch in all.

    python benchmarks/speed/ddp.py [--across ring]

Sizes are those of configs/comet/simulated_ecg.yaml. Two processes of one thread each share the batch (gloo); one
process takes the whole of it, with one thread and with two. Every side runs in processes of its own, in turn, several
times.
Printed are the median windows/s of every side, and of its ratio to one process with one thread, with the lowest and
highest round. Two processes can at most double it; on one machine they compete with one process of two threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from measuring import figure, keep, measure_side
from torch.utils.data import DataLoader

from tscl.augmenters import Identity, LatentMask
from tscl.encoders import DilatedConvEncoder
from tscl.heads import GroupHead, ObservationHead, SampleHead
from tscl.learners import ContrastiveLearner
from tscl.types import Batch

SIDES = {"one": (1, 1), "threads": (1, 2), "processes": (2, 1)}
"""Processes, and threads of each."""
NAMES = {"one": "1 process, 1 thread", "threads": "1 process, 2 threads", "processes": "2 processes, 1 thread each"}


class Clock(L.Callback):
    """Take the time from the end of the warm-up to the end of the last step."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.begin = self.seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Start, or take the time so far."""
        if batch_idx + 1 == self.warmup:
            self.begin = time.perf_counter()
        self.seconds = time.perf_counter() - self.begin


def own_batches(args: argparse.Namespace, rank: int, world: int) -> list[Batch]:
    """Return the part of every batch that a process takes: whole patients of two trials with four windows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(args.batch, args.channels, args.times, generator=generator)
    window = torch.arange(args.batch)
    rows = window.tensor_split(world)[rank]
    one = Batch(x[rows], {"trial": window[rows] // 4, "patient": window[rows] // 8})
    return [one] * (args.warmup + args.steps)


def run_side(args: argparse.Namespace) -> dict[str, float]:
    """Train, and return the windows of all processes in a second."""
    world, threads = SIDES[args.side]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clock = Clock(args.warmup)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[clock],
    )
    learner = ContrastiveLearner(
        DilatedConvEncoder(args.channels, dim=args.dim, hidden=args.hidden, depth=args.depth),
        [ObservationHead(), SampleHead(), GroupHead("trial"), GroupHead("patient")],
        {"clean": Identity(), "masked": LatentMask("continuous")},
        across_processes=args.across,
    )
    trainer.fit(learner, DataLoader(own_batches(args, trainer.global_rank, world), batch_size=None))
    return {"rate": args.batch * args.steps / clock.seconds}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"batch": 128, "channels": 4, "times": 120, "dim": 64, "hidden": 32, "depth": 4}
    for name, value in {**sizes, "steps": 30, "warmup": 5, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--across", choices=["gather", "ring"], default="gather")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        warnings.filterwarnings("ignore")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        said = run_side(args)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(json.dumps(said))
        return
    rounds = [
        {side: measure_side(side, OMP_NUM_THREADS=str(threads))["rate"] for side, (_, threads) in SIDES.items()}
        for _ in range(args.rounds)
    ]
    how = (
        f"COMET on CPU, fp32, batch of {args.batch} in all, C={args.channels} T={args.times} dim={args.dim} "
        f"depth={args.depth}, {args.across}; {args.rounds} rounds of {args.steps} steps"
    )
    print(f"{how}, torch {torch.__version__}")
    for side, name in NAMES.items():
        rates = sorted(one[side] for one in rounds)
        ratios = sorted(one[side] / one["one"] for one in rounds)
        print(
            f"{name:>26}: {statistics.median(rates):7.1f} windows/s ({rates[0]:.1f} to {rates[-1]:.1f}), "
            f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    rates = {side: [one[side] for one in rounds] for side in SIDES}
    rows = [figure(NAMES[side], "windows/s", rates[side], rates["one"], more=True) for side in ("threads", "processes")]
    keep(args.json, how, rows, NAMES["one"])


if __name__ == "__main__":
    main()
