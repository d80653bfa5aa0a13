"""Time and memory of the pair losses as they grow, ours against the whole matrix of similarities.

    python benchmarks/speed/loss_memory.py [--largest 16384] [--losses NAME ...] [--dim 128]
    python benchmarks/speed/loss_memory.py --losses info_nce --dim 256 --largest 262144 --device cuda --dtype bf16

Each loss is computed forward and backward, in a process of its own for every size, ours and the plain version in turn.
Printed are the median seconds, the peak memory beyond what the process held before, the ratio of the times, how the
loss and its gradient differ, and the exponents with which time and memory grow from one size to the next (1 is linear).

The rate is three times the seconds of the plain product ``q @ k.T`` (vectors of the same number, dimensions and dtype,
in blocks that are written over one another) over the seconds of the loss. Three are the products that the loss cannot
do without: one forward, one for the gradient of each side. What is computed again is not counted: the Triton kernels
compute six products, or three where the vectors are compared with themselves (nt_xent, observation), so that the rate
at which they multiply is twice what is printed, or just that.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import figure, keep, measure_side, peak, resident
from torch import Tensor

from tscl.functional import clip_loss, global_info_nce, group_contrast, nt_xent, observation_contrast

TEMPERATURE = 0.1
LARGEST_PLAIN = {"nt_xent": 8192, "observation": 4096}
"""Beyond, the plain version takes more memory than a common machine has; on a GPU it is tried at every size."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
VIEWS_AS_ONE = ("nt_xent", "observation")
"""Losses that compare the vectors of both views with all of themselves."""

BLOCK = 8192
"""Side of a block of the plain product."""


def plain_info_nce(h1: Tensor, h2: Tensor) -> Tensor:
    """Both directions of the softmax over the whole matrix."""
    similarity = F.normalize(h1, dim=1) @ F.normalize(h2, dim=1).T / TEMPERATURE
    own = torch.arange(len(h1), device=h1.device)
    return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


def plain_nt_xent(h1: Tensor, h2: Tensor) -> Tensor:
    """Twins among all vectors of both views."""
    return plain_twins(F.normalize(torch.cat([h1, h2]), dim=1) / TEMPERATURE**0.5)


def plain_twins(z: Tensor) -> Tensor:
    """The twin is half the vectors away; a vector is not compared with itself."""
    similarity = z @ z.T
    similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def plain_clip(z: Tensor, speech: Tensor) -> Tensor:
    """Windows against stretches of unit norm, other copies of the own stretch left out."""
    ids = two_of_each(len(z), z.device)
    scores = z.flatten(1) @ F.normalize(speech.flatten(1), dim=1).T
    copies = (ids[:, None] == ids) & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return F.cross_entropy(scores.masked_fill(copies, -torch.inf), torch.arange(len(z), device=z.device))


def plain_group(z1: Tensor, z2: Tensor) -> Tensor:
    """Pairs above the diagonal over rows, pairs below it over columns."""
    h1, h2 = (F.normalize(F.normalize(z, dim=2).flatten(1), dim=1) for z in (z1, z2))
    ids = two_of_each(len(z1), z1.device)
    scores = h1 @ h2.T / TEMPERATURE
    upper = (ids[:, None] == ids).triu(1)
    rows = scores.log_softmax(dim=1).masked_fill(~upper, 0).sum()
    columns = scores.log_softmax(dim=0).masked_fill(~upper.T, 0).sum()
    return -(rows + columns) / (2 * upper.sum())


def plain_observation(z1: Tensor, z2: Tensor) -> Tensor:
    """Time steps of every window against each other."""
    return torch.stack([plain_twins(torch.cat([a.T, b.T])) for a, b in zip(z1, z2, strict=True)]).mean()


def two_of_each(n: int, device: torch.device) -> Tensor:
    """Ids of which every one occurs twice."""
    return torch.arange(n, device=device) // 2


LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[[int, int], tuple[int, ...]]]] = {
    "info_nce": (lambda a, b: global_info_nce(a, b, TEMPERATURE), plain_info_nce, lambda n, dim: (n, dim)),
    "nt_xent": (lambda a, b: nt_xent(a, b, TEMPERATURE), plain_nt_xent, lambda n, dim: (n, dim)),
    "clip": (
        lambda a, b: clip_loss(a, b, ids=two_of_each(len(a), a.device)),
        plain_clip,
        lambda n, dim: (n, dim // 8, 8),
    ),
    "group": (
        lambda a, b: group_contrast(a, b, two_of_each(len(a), a.device), TEMPERATURE),
        plain_group,
        lambda n, dim: (n, dim // 8, 8),
    ),
    "observation": (observation_contrast, plain_observation, lambda n, dim: (1, dim, n)),
}


def timed(function: Callable[[], Any], repeats: int, cuda: bool) -> tuple[list[float], Any]:
    """Return the seconds of some calls, and what the last one returned."""
    times = []
    for _ in range(repeats):
        if cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        result = function()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return times, result


def product(args: argparse.Namespace, loss: str, size: int) -> dict[str, float]:
    """Measure the plain product of a loss at one size."""
    device, dtype = torch.device(args.device), DTYPES[args.dtype]
    rows = 2 * size if loss in VIEWS_AS_ONE else size
    q, k = (torch.randn(rows, args.dim, device=device).to(dtype) for _ in range(2))
    block = torch.empty(min(BLOCK, rows) ** 2, device=device, dtype=dtype)

    def once() -> None:
        for some in q.split(BLOCK):
            for others in k.split(BLOCK):
                torch.mm(some, others.T, out=block[: len(some) * len(others)].view(len(some), len(others)))

    once()
    return {"seconds": statistics.median(timed(once, args.repeats, device.type == "cuda")[0])}


def run(args: argparse.Namespace, loss: str, version: str, size: int) -> dict[str, Any]:
    """Measure one version of one loss at one size."""
    function = LOSSES[loss][0 if version == "ours" else 1]
    device, dtype = torch.device(args.device), DTYPES[args.dtype]
    generator = torch.Generator().manual_seed(0)

    def views(n: int) -> list[Tensor]:
        shape = LOSSES[loss][2](n, args.dim)
        drawn = [torch.randn(shape, generator=generator) / 10 for _ in range(2)]
        return [one.to(device, dtype).requires_grad_() for one in drawn]

    def once(z1: Tensor, z2: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        value = function(z1, z2)
        return value, torch.autograd.grad(value, (z1, z2))

    once(*views(64))
    z1, z2 = views(size)
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated() if cuda else resident()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times, (value, gradients) = timed(lambda: once(z1, z2), args.repeats, cuda)
    held = (torch.cuda.max_memory_allocated() - before) / 2**20 if cuda else peak() - before
    slope = float(
        sum((g.double() * torch.linspace(-1, 1, g.numel(), device=g.device).view_as(g)).sum() for g in gradients)
    )
    return {
        "seconds": statistics.median(times),
        "times": times,
        "memory": held,
        "value": float(value.detach()),
        "slope": slope,
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=list(LOSSES))
    parser.add_argument("--smallest", type=int, default=2048)
    parser.add_argument("--largest", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dim", type=int, default=128, help="dimensions of the vectors, a multiple of 8")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="fp32", choices=list(DTYPES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here: leave --device out.")
    torch.set_num_threads(args.threads)
    if args.side:
        loss, version, size = args.side.split("/")
        try:
            measured = product(args, loss, int(size)) if version == "product" else run(args, loss, version, int(size))
        except torch.cuda.OutOfMemoryError:
            measured = None
        print(json.dumps(measured))
        return

    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} threads"
    rounds = f"{args.repeats} rounds, each size in a process of its own"
    how = f"{where}, {args.dtype}, D = {args.dim}; forward and backward, {rounds}"
    print(f"{how}, torch {torch.__version__}, median\n")
    print(
        "| loss | N | s | MB | plain s | plain MB | time ratio | loss off | gradient off | rate | time ~ N^ | MB ~ N^ |"
    )
    print("|" + "---|" * 12)
    rows = []
    for loss in args.losses:
        last: dict[str, Any] | None = None
        size = args.smallest
        while size <= args.largest:
            ours, plain = measure_side(f"{loss}/ours/{size}"), None
            name, differs = f"{loss}, N = {size:,}", []
            cells = [loss, f"{size:,}", f"{ours['seconds']:.3f}", f"{ours['memory']:.0f}"]
            fits = args.device == "cuda" or size <= LARGEST_PLAIN.get(loss, args.largest)
            plain = measure_side(f"{loss}/plain/{size}") if fits else None
            if plain is not None:
                differs = [abs(ours[key] - plain[key]) / max(abs(plain[key]), 1e-12) for key in ("value", "slope")]
                cells += [
                    f"{plain['seconds']:.3f}",
                    f"{plain['memory']:.0f}",
                    f"{ours['seconds'] / plain['seconds']:.2f}",
                ]
                cells += [f"{one:.0e}" for one in differs]
            else:
                cells += ["-"] * 5
            rate = 3 * measure_side(f"{loss}/product/{size}")["seconds"] / ours["seconds"]
            cells.append(f"{rate:.2f}")
            grown = [math.log2(max(ours[key], 1e-9) / max(last[key], 1e-9)) for key in ("seconds", "memory") if last]
            cells += [f"{one:.2f}" for one in grown] or ["-", "-"]
            print("| " + " | ".join(cells) + " |", flush=True)
            rows.append(figure(name, "s", ours["times"], plain["times"] if plain else ()))
            rows.append(figure(name, "MB", [ours["memory"]], [plain["memory"]] if plain else ()))
            rows.append(figure(name, "% of the rate of a matrix product", [100 * rate]))
            for what, value in zip(("loss", "gradient"), differs, strict=False):
                rows.append(figure(name, f"relative difference of the {what}", [value]))
            for unit, value in zip(("s", "MB"), grown, strict=False):
                rows.append(figure(f"{loss}, from half to N = {size:,}", f"exponent of {unit}", [value]))
            last, size = ours, 2 * size
    keep(args.json, how, rows, "the whole matrix of similarities")


if __name__ == "__main__":
    main()
