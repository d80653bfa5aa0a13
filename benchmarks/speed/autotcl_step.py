"""Time a training step of AutoTCL: the augmenter's step, then the encoder's.

    python benchmarks/speed/autotcl_step.py [--precision bf16] [--compile]
    python benchmarks/speed/autotcl_step.py --profile

The defaults are the sizes of ``configs/autotcl/etth1.yaml``; ``--dim 320 --hidden 64 --depth 10`` are those of
the paper's encoder. Each round runs in a process of its own. ``--profile`` prints where the time goes instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from measuring import autocast, figure, keep, measure_side, name_part, peak, print_profile, resident

from tscl.augmenters import ParametricAugmenter
from tscl.encoders import CausalConvEncoder
from tscl.heads import GlobalHead, LocalHead
from tscl.learners import ContrastiveLearner
from tscl.types import Batch


class Steps:
    """A learner, its two optimizers and a batch."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.precision = args.precision
        self.batch = Batch(torch.randn(args.batch, args.channels, args.times))
        self.learner = ContrastiveLearner(
            CausalConvEncoder(args.channels, dim=args.dim, hidden=args.hidden, depth=args.depth),
            [GlobalHead(temperature=0.2), LocalHead(weight=0.3, temperature=0.2)],
            {"learned": ParametricAugmenter()},
            compile=args.compile,
        )
        self.learner.build(args.channels)
        self.optimizer = self.learner.configure_optimizers()
        self.learner.augmenter_training.average = lambda gradient: gradient  # there is one process

    def augmenter(self) -> None:
        """Take the augmenter's step."""
        learner = self.learner
        with autocast(self.precision):
            learner.augmenter_training.step(learner.encoder, lambda name: learner._attempt(self.batch, name), 0)

    def encoder(self) -> None:
        """Take the encoder's step."""
        self.optimizer.zero_grad()
        with autocast(self.precision):
            loss = self.learner.weighted_loss(self.batch)[0]
        loss.backward()
        self.optimizer.step()
        self.learner.average.update_parameters(self.learner.encoder)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of both steps, and the memory that they take."""
    steps, before = Steps(args), resident()
    times: list[tuple[float, float]] = []
    for _ in range(args.warmup + args.steps):
        begin = time.perf_counter()
        steps.augmenter()
        between = time.perf_counter()
        steps.encoder()
        times.append((between - begin, time.perf_counter() - between))
    of_augmenter, of_encoder = zip(*times[args.warmup :], strict=True)
    seconds = {"augmenter": statistics.median(of_augmenter), "encoder": statistics.median(of_encoder)}
    return {**seconds, "memory": peak() - before}


def show_profile(args: argparse.Namespace) -> None:
    """Print where the time goes."""
    steps = Steps(args)
    parts = ["step of the augmenter", "step of the encoder", "encoder forward", "backward", "optimizer", "averaging"]
    name_part(steps, "augmenter", parts[0])
    name_part(steps, "encoder", parts[1])
    name_part(steps.learner, "_encode", parts[2])
    name_part(torch.Tensor, "backward", parts[3])
    name_part(torch.autograd, "grad", parts[3])
    for optimizer in (steps.optimizer, steps.learner.augmenter_training.optimizer):
        name_part(optimizer, "step", parts[4])
    name_part(steps.learner.average, "update_parameters", parts[5])
    print_profile(lambda: (steps.augmenter(), steps.encoder()), parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"batch": 32, "channels": 13, "times": 257, "dim": 128, "hidden": 32, "depth": 3}
    for name, value in {**sizes, "steps": 5, "warmup": 2, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--side", choices=["ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        print(json.dumps(run(args)))
        return
    if args.profile:
        show_profile(args)
        return
    rounds = [measure_side("ours") for _ in range(args.rounds)]
    how = (
        f"CPU {args.precision}{', compiled' if args.compile else ''}, B={args.batch} C={args.channels} "
        f"T={args.times} dim={args.dim} hidden={args.hidden} depth={args.depth}, {args.threads} threads; "
        f"{args.rounds} rounds of {args.steps} steps"
    )
    print(f"AutoTCL step, {how}, torch {torch.__version__}, median")
    said = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(f"augmenter: {said['augmenter']:.3f} s   encoder: {said['encoder']:.3f} s   {said['memory']:.0f} MB")
    rows = [figure(f"step of the {key}", "s", [one[key] for one in rounds]) for key in ("augmenter", "encoder")]
    keep(args.json, how, [*rows, figure("both", "MB", [one["memory"] for one in rounds])])


if __name__ == "__main__":
    main()
