"""Two processes (gloo, CPU) against one with the joined batch: loss, gradients and weights of every head and loss."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tscl import heads, losses

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("this torch has no gloo backend", allow_module_level=True)

SCRIPT = Path(__file__).with_name("joined.py")
sys.path.insert(0, str(SCRIPT.parent))
import joined  # noqa: E402

CASES = [*joined.HEADS, *joined.LOSSES]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What one process and each of two said of every case."""
    folder = tmp_path_factory.mktemp("joined")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for world in (1, 2):
        command = [sys.executable, str(SCRIPT), str(folder / str(world)), str(world)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    return [torch.load(folder / name, weights_only=True) for name in ("1.0", "2.0", "2.1")]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_with_the_joined_batch(said, case):
    one, *both = (of[case] for of in said)
    start = joined.learner(case).state_dict()
    moved = [name for name, value in start.items() if name in one and not torch.equal(one[name], value)]
    assert moved
    for rank in both:
        torch.testing.assert_close(rank["loss"], one["loss"], rtol=1e-5, atol=1e-6)
        for name, value in one.items():
            if name != "loss":
                torch.testing.assert_close(rank[name], value, rtol=1e-12, atol=1e-12, msg=f"{case}: {name}")


def test_every_head_and_loss_is_a_case():
    kinds = {type(head).__name__ for make in joined.HEADS.values() for head in make()}
    assert kinds == set(heads.__all__) - {"Head"}
    assert {type(make()).__name__ for make in joined.LOSSES.values()} == {"ClipLoss", "SigLipLoss", "RegressionLoss"}
    inside = {type(head.loss).__name__ for make in joined.HEADS.values() for head in make()}
    assert inside | {"ClipLoss", "SigLipLoss", "RegressionLoss"} == set(losses.__all__)
