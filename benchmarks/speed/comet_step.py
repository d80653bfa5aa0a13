"""Time a COMET training step, ours against the authors' code, on the same batches.

    python benchmarks/speed/comet_step.py --reference DIR [--batch 256] [--precision bf16] [--compile]
    python benchmarks/speed/comet_step.py --profile

DIR is a checkout of DL4mHealth/COMET. Both sides train with AdamW and weight averaging; each runs in a process of its
own, in turn, several times. Printed are the median seconds a step; the peak resident memory beyond what the process
held before the first step, with the C library's default allocator and, once, with one that returns freed blocks at
once (which leaves out fragmentation); the ratios; and the largest difference of a loss for equal weights and inputs.
``--precision`` and ``--compile`` are for our side; theirs stays as it is, in fp32. At the end comes the encoder alone:
the time that its convolutions take by themselves as a share of that of its forward and backward pass.

``--profile`` prints where the time of our step goes instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import (
    autocast,
    figure,
    held,
    keep,
    measure_side,
    name_part,
    print_profile,
    resident,
    share_of_convolutions,
    wait_for,
)

from tscl.types import Batch


def make_batches(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signals (n, C, T), trial ids (n,), patient ids (n,)."""
    rng = np.random.default_rng(0)
    n = args.batch * (args.steps + args.warmup)
    trial = np.arange(n) // 4
    return rng.normal(size=(n, args.channels, args.times)).astype("float32"), trial, trial // 4


class Ours:
    """Our learner and its optimizer."""

    def __init__(self, args: argparse.Namespace) -> None:
        from tscl.augmenters import Identity, LatentMask
        from tscl.encoders import DilatedConvEncoder
        from tscl.heads import GroupHead, ObservationHead, SampleHead
        from tscl.learners import ContrastiveLearner

        self.precision, self.device = args.precision, args.device
        self.learner = ContrastiveLearner(
            DilatedConvEncoder(args.channels, depth=args.depth),
            [ObservationHead(), SampleHead(), GroupHead("trial"), GroupHead("patient")],
            {"clean": Identity(), "masked": LatentMask("continuous")},
            compile=args.compile,
        ).to(args.device)
        self.optimizer = self.learner.configure_optimizers()

    def step(self, batch: Batch) -> None:
        """Take one step."""
        self.optimizer.zero_grad()
        with autocast(self.precision, self.device):
            loss = self.learner.weighted_loss(batch)[0]
        loss.backward()
        self.optimizer.step()
        self.learner.average.update_parameters(self.learner.encoder)


def batches_of(args: argparse.Namespace) -> Iterator[Batch]:
    """Cut the data into batches of our kind."""
    X, trial, patient = (torch.from_numpy(a) for a in make_batches(args))
    for start in range(0, len(X), args.batch):
        rows = slice(start, start + args.batch)
        yield Batch(X[rows], {"patient": patient[rows], "trial": trial[rows]}).to(args.device)


def run_ours(args: argparse.Namespace) -> dict[str, float]:
    """Train with our learner's step."""
    ours, batches = Ours(args), list(batches_of(args))
    before, times = resident(), []
    for batch in batches:
        begin = time.perf_counter()
        ours.step(batch)
        wait_for(args.device)
        times.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(times[args.warmup :]), "memory": held(args.device, before)}


def show_profile(args: argparse.Namespace) -> None:
    """Print where the time of our step goes."""
    ours, batch = Ours(args), next(batches_of(args))
    whole = "all forward and backward passes"
    name_part(ours.learner, "_encode", "encoder forward")
    for head in ours.learner.heads:
        name_part(head, "forward", "losses, with their gradient")
    name_part(ours.learner, "weighted_loss", whole)
    name_part(ours.optimizer, "step", "optimizer")
    name_part(ours.learner.average, "update_parameters", "averaging")
    print_profile(
        lambda: ours.step(batch), [whole, "encoder forward", "losses, with their gradient", "optimizer", "averaging"]
    )


def encoder_share(args: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of the encoder's forward and backward pass, and of its convolutions alone."""
    encoder, x = Ours(args).learner.encoder, next(batches_of(args)).x
    with autocast(args.precision, args.device):
        gradient = torch.randn_like(encoder.features(x))

    def forward_backward() -> None:
        with autocast(args.precision, args.device):
            z = encoder.features(x)
        z.backward(gradient)

    whole, alone = share_of_convolutions(forward_backward)
    return {"whole": whole, "alone": alone}


def run_reference(args: argparse.Namespace) -> dict[str, float]:
    """Train with the authors' own ``COMET.fit``."""
    sys.path.insert(0, args.reference)
    from comet import COMET

    X, trial, patient = make_batches(args)
    labels = np.stack([np.zeros(len(X)), patient, trial], axis=1)
    stamps: list[float] = []

    def stamp(*_: Any) -> None:
        wait_for(args.device)
        stamps.append(time.perf_counter())

    model = COMET(
        args.channels,
        depth=args.depth,
        device=args.device,
        lr=1e-4,
        batch_size=args.batch,
        flag_use_multi_gpu=False,
        after_iter_callback=stamp,
    )
    before = resident()
    stamp()
    model.fit(X.transpose(0, 2, 1).copy(), labels, n_epochs=2, verbose=False)
    return {"seconds": statistics.median(np.diff(stamps)[args.warmup :].tolist()), "memory": held(args.device, before)}


def loss_difference(args: argparse.Namespace) -> dict[str, float]:
    """Return the largest difference of the four losses, equal weights and batch, no dropout, no mask."""
    sys.path.insert(0, args.reference)
    from models import TSEncoder
    from models.losses import (
        contrastive_loss,
        observation_contrastive_loss,
        sample_contrastive_loss,
        trial_contrastive_loss,
    )

    from tscl.encoders import from_reference_state
    from tscl.functional import group_contrast, observation_contrast, sample_contrast

    theirs = TSEncoder(args.channels, 320, depth=args.depth).eval()
    ours = from_reference_state(theirs.state_dict()).eval()
    X, trial, _ = (torch.from_numpy(a[: args.batch]) for a in make_batches(args))
    with torch.no_grad():
        a1, a2 = (theirs(x.mT.clone(), "all_true") for x in (X, X + 0.1))
        b1, b2 = (ours(x) for x in (X, X + 0.1))
        pairs = [
            (contrastive_loss(a1, a2, sample_contrastive_loss, hierarchical=True), sample_contrast(b1, b2, True)),
            (
                contrastive_loss(a1, a2, observation_contrastive_loss, hierarchical=True),
                observation_contrast(b1, b2, True),
            ),
            (trial_contrastive_loss(a1, a2, trial), group_contrast(b1, b2, trial)),
        ]
    return {"difference": max(abs(float(a) - float(b)) / max(1.0, abs(float(a))) for a, b in pairs)}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", metavar="DIR", help="checkout of DL4mHealth/COMET; without it ours alone")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--times", type=int, default=256)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--side", choices=["ours", "reference", "losses", "encoder"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        torch.manual_seed(0)
        sides = {"ours": run_ours, "reference": run_reference, "losses": loss_difference, "encoder": encoder_share}
        print(json.dumps(sides[args.side](args)))
        return
    if args.profile:
        show_profile(args)
        return

    returning = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
    names = ["ours", "reference"] if args.reference else ["ours"]
    rounds = []
    for _ in range(args.rounds):
        rounds.append({name: measure_side(name) for name in names})
    live = {name: [measure_side(name, **returning)["memory"]] for name in names}
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    how = (
        f"{where} {args.precision}{', compiled' if args.compile else ''}, B={args.batch} C={args.channels} "
        f"T={args.times} depth={args.depth}, {args.threads} threads; "
        f"{args.rounds} rounds of {args.steps} steps"
    )
    print(f"COMET step, {how}, torch {torch.__version__}, median")
    units = {"seconds": "s a step", "memory": "MB, default allocator", "live": "MB, freed blocks returned"}
    measured = {
        unit: {name: live[name] if key == "live" else [r[name][key] for r in rounds] for name in names}
        for key, unit in units.items()
    }
    for name in names:
        print(f"{name:>10}: " + "   ".join(f"{statistics.median(v[name]):8.3f} {u}" for u, v in measured.items()))
    rows = [figure(f"B = {args.batch}", u, v["ours"], v.get("reference", ())) for u, v in measured.items()]
    if args.reference:
        for unit, sides in measured.items():
            ratios = sorted(b / a for a, b in zip(sides["ours"], sides["reference"], strict=True))
            print(f"ratio of {unit}: {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
        difference = measure_side("losses")["difference"]
        print(f"largest relative difference of a loss: {difference:.1e}")
        rows.append(figure(f"B = {args.batch}", "largest relative difference of a loss", [difference]))
    said = measure_side("encoder")
    share = 100 * said["alone"] / said["whole"]
    print(
        f"encoder, forward and backward: {said['whole']:.3f} s; its convolutions alone: {said['alone']:.3f} s, "
        f"{share:.0f} % of it"
    )
    rows.append(figure("encoder, forward and backward", "% of the rate of its convolutions alone", [share]))
    keep(args.json, how, rows, "the authors' code" if args.reference else "")


if __name__ == "__main__":
    main()
