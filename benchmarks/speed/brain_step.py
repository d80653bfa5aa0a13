"""Time a training step of the brain model, and what the loader makes it wait; beside any other implementation.

    python benchmarks/speed/brain_step.py [--device cuda --precision bf16] [--compile] [--reference DIR]
    python benchmarks/speed/brain_step.py --profile

The defaults are the paper's size: 256 windows of 270 sensors and 360 steps, 270 virtual channels, width 320, 120
features, 27 subjects. On a CPU take less: ``--batch 16 --hidden 64 --virtual 32``. With ``--reference`` DIR holds a
module ``brain_reference.py`` of yours with ``build(in_channels, dim, n_subjects, virtual, hidden)``: a module that is
called with ``(x (B, C, T), positions (B, C, 2), subject (B,))`` and gives (B, dim, T). Both sides train with the same
loss and Adam on the same batches, each in a process of its own, in turn.

``--loader`` also trains on windows of the simulated study through ``SpeechDataModule``, which cuts them when they are
asked for, and prints the share of the time in which the step waited for a batch. ``--compile`` is for our side.
``--profile`` prints where the time of our step goes instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measuring import autocast, figure, held, keep, measure_side, name_part, print_profile, resident, wait_for
from torch import Tensor, nn

from tscl.encoders import BrainConv
from tscl.encoders.base import encode_compiled
from tscl.functional import clip_loss
from tscl.types import Batch, Sensors, View


def model_of(args: argparse.Namespace, channels: int, dim: int, subjects: int) -> nn.Module:
    """Build our encoder or the reference's."""
    if args.side == "reference":
        sys.path.insert(0, args.reference)
        from brain_reference import build

        return build(channels, dim, subjects, args.virtual, args.hidden)
    return BrainConv(channels, dim, subjects, virtual=args.virtual, hidden=args.hidden)


def trained_step(args: argparse.Namespace, model: nn.Module, optimizer: Any, batch: Batch) -> Tensor:
    """Take one step and return its loss."""
    optimizer.zero_grad(set_to_none=True)
    with autocast(args.precision, args.device):
        assert batch.sensors is not None
        if args.side == "reference":
            z = model(batch.x, *batch.sensors)
        else:
            inputs = View(batch.x), batch.sensors
            z = encode_compiled(model, *inputs) if args.compile else model(batch.x, sensors=batch.sensors)
        loss = clip_loss(z, batch.paired["speech"])
    loss.backward()
    optimizer.step()
    return loss.detach()


def random_batch(args: argparse.Namespace) -> Batch:
    """Return a batch that lies on the device already."""
    torch.manual_seed(0)
    montages = torch.rand(args.subjects, args.channels, 2)
    subject = torch.randint(args.subjects, (args.batch,))
    return Batch(
        torch.randn(args.batch, args.channels, args.times),
        sensors=Sensors(montages[subject], subject),
        paired={"speech": torch.randn(args.batch, args.features, args.times)},
    ).to(args.device)


def show_profile(args: argparse.Namespace) -> None:
    """Print where the time of our step goes."""
    batch = random_batch(args)
    model = model_of(args, args.channels, args.features, args.subjects).to(args.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    parts = ["attention", "stem, subjects, blocks, output", "backward", "optimizer"]
    name_part(model.attention, "forward", parts[0])
    for module in (model.stem, model.subjects, model.blocks, model.out):
        name_part(module, "forward", parts[1])
    name_part(torch.Tensor, "backward", parts[2])
    name_part(optimizer, "step", parts[3])
    print_profile(lambda: trained_step(args, model, optimizer, batch), parts)


def run_side(args: argparse.Namespace) -> dict[str, float]:
    """Train on random batches that lie on the device already."""
    batch = random_batch(args)
    model = model_of(args, args.channels, args.features, args.subjects).to(args.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    before, times = resident(), []
    for _ in range(args.warmup + args.steps):
        wait_for(args.device)
        begin = time.perf_counter()
        trained_step(args, model, optimizer, batch)
        wait_for(args.device)
        times.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(times[args.warmup :]), "memory": held(args.device, before)}


def run_loader(args: argparse.Namespace) -> dict[str, float]:
    """Train through the data module, and take the time that the step waits for its batch."""
    from tscl.data.datasets import SimulatedSpeech
    from tscl.data.speech import LogMel, SpeechDataModule

    study = SimulatedSpeech(n_subjects=args.subjects, minutes=3)
    module = SpeechDataModule(study, LogMel(args.features), batch_size=args.batch, num_workers=args.workers)
    module.setup()
    loader = module.train_dataloader()
    model = model_of(args, module.n_channels, module.n_features, module.n_subjects).to(args.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    waited = worked = 0.0
    steps = 0
    while steps < args.warmup + args.steps:
        begin = time.perf_counter()
        for batch in loader:
            there = time.perf_counter()
            trained_step(args, model, optimizer, batch.to(args.device))
            wait_for(args.device)
            done = time.perf_counter()
            steps += 1
            if steps > args.warmup:
                waited, worked = waited + there - begin, worked + done - there
            begin = done
            if steps == args.warmup + args.steps:
                break
    return {"share": waited / (waited + worked), "seconds": (waited + worked) / args.steps}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", metavar="DIR", help="folder of brain_reference.py; without it ours alone")
    parser.add_argument("--loader", action="store_true")
    sizes = {"batch": 256, "channels": 270, "times": 360, "features": 120, "subjects": 27, "virtual": 270}
    for name, value in {**sizes, "hidden": 320, "steps": 5, "warmup": 2, "rounds": 3, "workers": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--side", choices=["ours", "reference", "loader"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        print(json.dumps(run_loader(args) if args.side == "loader" else run_side(args)))
        return
    if args.profile:
        show_profile(args)
        return
    names = ["ours", *(["reference"] if args.reference else [])]
    rounds = [{name: measure_side(name) for name in names} for _ in range(args.rounds)]
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} threads"
    how = (
        f"{where}, {args.precision}{', compiled' if args.compile else ''}: B={args.batch} C={args.channels} "
        f"T={args.times} virtual={args.virtual} hidden={args.hidden} F={args.features}; {args.rounds} rounds of "
        f"{args.steps} steps"
    )
    print(f"step of the brain model, {how}, torch {torch.__version__}, median")
    for name in names:
        seconds, memory = (statistics.median(one[name][key] for one in rounds) for key in ("seconds", "memory"))
        print(f"{name:>10}: {seconds:.4f} s a step ({1 / seconds:.2f} steps/s), {memory:.0f} MB")
    rows = [
        figure(f"B = {args.batch}", unit, *([one[name][key] for one in rounds] for name in names))
        for key, unit in {"seconds": "s a step", "memory": "MB"}.items()
    ]
    if args.reference:
        for key in ("seconds", "memory"):
            ratios = sorted(one["reference"][key] / one["ours"][key] for one in rounds)
            print(f"ratio of {key}: {statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    if args.loader:
        said = measure_side("loader")
        share = 100 * said["share"]
        print(f"through the loader: {said['seconds']:.4f} s a step, {share:.1f} % of it waiting for batches")
        rows.append(figure(f"B = {args.batch}, through the loader", "s a step", [said["seconds"]]))
        rows.append(figure(f"B = {args.batch}, through the loader", "% of a step waiting for its batch", [share]))
    keep(args.json, how, rows, "brain_reference.py" if args.reference else "")


if __name__ == "__main__":
    main()
