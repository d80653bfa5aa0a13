"""Run the Triton kernels on a CPU, in Triton's interpreter, and print how far they are from PyTorch, as JSON.

A process of its own, with TRITON_INTERPRET=1: the variable is read when a kernel is defined.
"""

import json

import torch
import triton.language as tl
from triton.runtime import interpreter

from tscl.functional import clip_loss, global_info_nce, group_contrast, nt_xent, pairs, tiles, triton_tiles

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(shape, generator=GENERATOR)


def multiply_bfloat16(self, a, b, d, *settings, plain=interpreter.InterpreterBuilder.create_dot):
    """The interpreter keeps bfloat16 as its bits and would multiply those."""
    a, b = (self.cast_impl(one, tl.float32) if one.dtype.scalar == tl.bfloat16 else one for one in (a, b))
    return plain(self, a, b, d, *settings)


interpreter.InterpreterBuilder.create_dot = multiply_bfloat16


def far(ours, exact):
    """The largest difference, relative to the largest value."""
    ours, exact = ours.detach().double(), exact.detach().double()
    assert ours.shape == exact.shape
    return float((ours - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


def compare(
    n, m, dim, dtype=torch.float32, factor=1.0, weight=1.0, without=None, within=None, single=False, below=False
):
    """Compare values and gradients with those of PyTorch in float64, of the same vectors."""
    q, k = ((draw(rows, dim) * scale).to(dtype) for rows, scale in ((n, factor * dim**-0.5), (m, 1.0)))
    if below:
        q, k = -q.abs(), k.abs()
    ids = {"without": without, "within": within}
    weights = [weight * draw(*shape).double() for shape in ((n,), (m,), (n,), ())]
    results = []
    for precision in (torch.float32 if single else dtype, torch.float64):
        sides = [one.to(precision).requires_grad_() for one in (q, k)]
        if precision == torch.float64:
            values = tiles.pair_logsumexp(*sides, **ids)
        else:
            values = triton_tiles.pair_normalisers(*sides, without, within, dtype)
        loss = sum((one * w).sum() for one, w in zip(values, weights, strict=True))
        gradients = torch.autograd.grad(loss, sides)
        assert {one.dtype for one in gradients} == {precision}
        results.append([*values, *gradients])
    names = "rows", "columns", "own", "total", "grad_q", "grad_k"
    return {name: far(*both) for name, *both in zip(names, *results, strict=True)}


def twins(groups, n, dim, dtype=torch.float32):
    """Compare the contrast of the first half of the vectors of each group with the second, and its gradient."""
    z = draw(groups, n, dim).to(dtype)
    gradients = torch.empty_like(z), torch.empty_like(z, dtype=torch.float64)
    total = pairs._by_kernels(triton_tiles, z, gradients[0])
    exact = sum(pairs._by_tiles(*one) for one in zip(z.double()[:, None], gradients[1][:, None], strict=True))
    return {"total": far(total, exact), "gradient": far(*gradients)}


def single():
    """One pair: values and gradients are exactly 0."""
    q, k = (one.requires_grad_() for one in (draw(1, 40), draw(1, 40)))
    rows, columns, own, _ = triton_tiles.pair_normalisers(q, k, None, None, torch.float32)
    loss = (rows + columns - 2 * own).sum()
    return {"largest": max(float(one.detach().abs().max()) for one in (loss, *torch.autograd.grad(loss, (q, k))))}


def losses(dtype):
    """Let the losses take the kernels, as they do on a GPU, and compare them with what they give in float64."""
    ids = torch.arange(70) // 3
    functions = {
        "info_nce": (lambda a, b: global_info_nce(a, b, 0.1), (70, 24)),
        "nt_xent": (lambda a, b: nt_xent(a, b, 0.5), (70, 24)),
        "clip": (lambda a, b: clip_loss(a, b, ids=ids, symmetric=True), (70, 6, 4)),
        "group": (lambda a, b: group_contrast(a, b, ids, 0.2), (70, 6, 4)),
    }
    found = {}
    for name, (function, shape) in functions.items():
        views = [draw(*shape).to(dtype).requires_grad_() for _ in range(2)]
        exact = [one.detach().double().requires_grad_() for one in views]
        loss, wanted = function(*views), function(*exact)
        found[name] = far(loss, wanted)
        gradients = torch.autograd.grad(loss, views), torch.autograd.grad(wanted, exact)
        found[f"{name}, gradient"] = max(far(*both) for both in zip(*gradients, strict=True))
    return found


def serve_halves(calls):
    """Choose the kernels for half precision on the CPU, and large matrices' ways for small ones; count the choices."""

    def kernels_for(device, dtype, dim):
        half = dtype in (torch.float16, torch.bfloat16)
        calls["kernels"] += half
        return triton_tiles if half else None

    tiles.kernels_for = pairs.kernels_for = kernels_for
    tiles.TILE_ELEMENTS["cpu"] = 64


def main():
    """Print the differences of every case."""
    ids = torch.randint(-1, 12, (300,), generator=GENERATOR)
    half, brain = torch.float16, torch.bfloat16
    cases = {
        "one": compare(1, 1, 2),
        "small": compare(5, 9, 3),
        "uneven": compare(300, 333, 40),
        "wide": compare(150, 170, 320),
        "widest": compare(70, 90, 512),
        "without": compare(200, 301, 72, without=ids[:200]),
        "without alone": compare(140, 140, 16, without=torch.zeros(140, dtype=torch.int64)),
        "within": compare(300, 300, 33, within=ids),
        "large scores": compare(140, 150, 20, factor=1e4),
        "all far below 0": compare(130, 140, 8, factor=1e3, below=True),
        "twins": twins(2, 270, 48),
        "float16": compare(300, 333, 40, half),
        "float16, ids": compare(200, 301, 72, half, without=ids[:200]),
        "float16, tiny weights": compare(300, 333, 40, half, weight=1e-9, single=True),
        "float16, twins": twins(1, 270, 48, half),
        "bfloat16, rounded": compare(130, 150, 40, brain, single=True),
        "bfloat16": compare(300, 333, 256, brain),
        "bfloat16, ids": compare(300, 300, 100, brain, within=ids),
        "bfloat16, twins": twins(2, 140, 320, brain),
        "single": single(),
    }
    calls = {"kernels": 0}
    serve_halves(calls)
    cases["float16, losses"] = losses(half)
    assert calls["kernels"] == 4
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
