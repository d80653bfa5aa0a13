import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tscl.functional import global_info_nce, nt_xent, tiles
from tscl.functional.tiles import pair_logsumexp

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

KERNELS = [(kernel, dim) for kernel in ("normaliser_kernel", "gradient_kernel") for dim in (64, 128, 256, 512)]
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""What a program may take, by compute capability (CUDA's programming guide, technical specifications)."""

SPILLED_BYTES = 16
"""What a thread may leave to memory: registers for four numbers."""


@functools.cache
def interpreted():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_triton
def test_kernels_equal_pytorch():
    differences = interpreted()
    # Around the kernels, group_contrast and nt_xent scale vectors in float16: PyTorch's tiles are 2e-3 off then, too.
    allowed = {"float16": 2e-3, "bfloat16": 1.5e-2, "float16, losses": 5e-3}
    far = {
        f"{case}: {name}": difference
        for case, found in differences.items()
        for name, difference in found.items()
        if not difference <= allowed.get(case, allowed.get(case.split(",")[0], 2e-5))
    }
    assert far == {}


@needs_triton
def test_a_single_pair_costs_exactly_nothing():
    assert interpreted()["single"] == {"largest": 0.0}


@functools.cache
def compiled(name, dim, capability, without=False, twins=False):
    """Compile a kernel for a GPU that is not here; return its shared memory, registers and stack, in bytes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tscl.functional import triton_tiles

    kernel = getattr(triton_tiles, name)
    table = triton_tiles.NORMALISER_TILES if name == "normaliser_kernel" else triton_tiles.GRADIENT_TILES
    tile = triton_tiles.tile_of(table, dim)
    fixed = {"DIM": dim, "PADDED": triton_tiles.padded(dim), "OWN": tile.own, "OTHER": tile.other, "TWINS": twins}
    fixed |= {"within": None, "within_sum": None, "within_weight": None} | ({} if without else {"without": None})
    fixed = {key: value for key, value in fixed.items() if key in kernel.arg_names}

    def kind(argument):
        if argument in fixed:
            return "constexpr"
        if argument.startswith("n_"):
            return "i32"
        return {"own": "*bf16", "other": "*bf16", "gradient": "*bf16", "without": "*i64"}.get(argument, "*fp32")

    signature = {argument: kind(argument) for argument in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, one in enumerate(signature.values()) if one.startswith("*")}
    source = ASTSource(kernel, signature, constexprs=fixed, attrs=aligned)
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    try:
        binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    except (RuntimeError, OSError) as error:
        if "ptxas" in str(error) and "No such file" in str(error):
            pytest.skip(f"Triton's assembler cannot run here: {error}")
        raise
    return binary.metadata.shared, resources(binary.asm["cubin"])


def resources(cubin):
    """Return what the assembler says that a program takes, a dict such as ``{"REG": 255, "STACK": 0}``."""
    import tempfile

    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        told = subprocess.run([knobs.nvidia.cuobjdump.path, "-res-usage", path], capture_output=True, text=True).stdout
    return {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)}


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("name", "dim"), KERNELS)
def test_kernels_fit_the_gpu(name, dim, capability):
    shared, taken = compiled(name, dim, capability)
    assert shared <= SHARED_BYTES[capability]
    assert taken["STACK"] + taken["LOCAL"] <= SPILLED_BYTES


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("name", "dim"), [kernel for kernel in KERNELS if kernel[1] >= 256])
def test_kernels_with_ids_fit_too(name, dim, capability):
    shared, _ = compiled(name, dim, capability, without=True)
    assert shared <= SHARED_BYTES[capability]


def test_only_half_precision_on_a_gpu_has_kernels():
    cuda = torch.device("cuda", 0)
    assert tiles.kernels_for(torch.device("cpu"), torch.bfloat16, 64) is None
    assert tiles.kernels_for(cuda, torch.float32, 64) is None
    assert tiles.kernels_for(cuda, torch.float64, 64) is None


def test_without_triton_pytorch_serves():
    code = (
        "import sys; sys.modules['triton'] = None; import torch; from tscl.functional import nt_xent, tiles;"
        "assert tiles._kernels(torch.device('cuda', 0)) is None; assert nt_xent(torch.eye(4), torch.eye(4)) > 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@needs_triton
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "m", "dim"), [(1, 1, 8), (1000, 1333, 40), (3000, 3000, 256), (900, 1000, 512)])
@pytest.mark.parametrize("given", ["without", "within", None])
def test_both_paths_agree_on_the_gpu(n, m, dim, given, dtype):
    if given == "within" and n != m:
        pytest.skip("sums of pairs are of square matrices")
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(rows, dim, generator=generator).mul(dim**-0.25).to("cuda", dtype) for rows in (n, m))
    ids = {} if given is None else {given: (torch.arange(n) // 3 - 1).cuda()}
    assert tiles.kernels_for(q.device, dtype, dim) is not None
    results = []
    for precision in (dtype, torch.float64):
        sides = [one.to(precision).requires_grad_() for one in (q, k)]
        rows, columns, own, total = values = pair_logsumexp(*sides, **ids)
        loss = rows.mean() + columns.mean() - 2 * own.mean() + total / n
        results.append([*values, *torch.autograd.grad(loss, sides)])
    for ours, exact in zip(*results, strict=True):
        assert (ours - exact).abs().max() <= 2e-2 * exact.abs().max()


@needs_triton
@needs_gpu
@pytest.mark.parametrize("loss", [global_info_nce, nt_xent])
def test_losses_take_the_kernels_on_the_gpu(loss):
    views = [torch.randn(4000, 128, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    half = [one.to("cuda", torch.bfloat16).requires_grad_() for one in views]
    exact = [one.detach().double().requires_grad_() for one in half]
    ours, wanted = loss(*half), loss(*exact)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-2, atol=1e-2)
    for one, other in zip(torch.autograd.grad(ours, half), torch.autograd.grad(wanted, exact), strict=True):
        assert (one - other).abs().max() <= 3e-2 * other.abs().max()
