"""Several processes (gloo, CPU) against one with the joined batch: loss, gradients, weights of every head and loss."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from tscl import heads, losses
from tscl.errors import ConfigError
from tscl.learners import ContrastiveLearner, CrossModalLearner

SCRIPT = Path(__file__).with_name("joined.py")
sys.path.insert(0, str(SCRIPT.parent))
import joined  # noqa: E402

CASES = [(across, world, case) for world in (2, 3) for across in joined.RUNS[world] for case in joined.cases(across)]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each process said of every case, by the number of processes."""
    folder = tmp_path_factory.mktemp("joined")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    joined.main(str(folder / "1"), 1)
    for world in set(joined.RUNS) - {1}:
        command = [sys.executable, str(SCRIPT), str(folder / str(world)), str(world)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    read = partial(torch.load, weights_only=True)
    return {world: [read(folder / f"{world}.{rank}") for rank in range(world)] for world in joined.RUNS}


@pytest.mark.parametrize(("across", "world", "case"), CASES)
def test_several_processes_train_as_one_with_the_joined_batch(said, across, world, case):
    one = said[1][0][f"gather {case}"]
    start = joined.learner(case).state_dict()
    learned = [name for name in start if name.startswith("encoder.")]
    assert any(not torch.equal(start[name].double(), one["weights"][name]) for name in learned)
    every = [rank[f"{across} {case}"] for rank in said[world]]
    for rank in every:
        torch.testing.assert_close(rank["mean"], one["mean"], rtol=1e-5, atol=1e-6)
        for kind in ("gradients", "weights"):
            assert rank[kind].keys() == one[kind].keys()
            for name, value in one[kind].items():
                torch.testing.assert_close(
                    rank[kind][name], value, rtol=1e-11, atol=1e-11, msg=f"{case}: {kind} {name}"
                )
    shares = torch.tensor([len(rows) / 8 for rows in joined.PARTS[world]], dtype=torch.float64)
    total = (torch.stack([rank["losses"] for rank in every]) * shares[:, None]).sum(dim=0)
    exact = 1e-6 if one["losses"].dtype == torch.float32 else 1e-11  # the regression's loss is in single precision
    torch.testing.assert_close(total.to(one["losses"].dtype), one["losses"], rtol=exact, atol=exact)


def test_every_head_and_loss_is_a_case():
    kinds = {type(head).__name__ for make in joined.HEADS.values() for head in make()}
    assert kinds == set(heads.__all__) - {"Head"}
    assert {type(make()).__name__ for make in joined.LOSSES.values()} == {"ClipLoss", "SigLipLoss", "RegressionLoss"}
    inside = {type(head.loss).__name__ for make in joined.HEADS.values() for head in make()}
    assert inside | {"ClipLoss", "SigLipLoss", "RegressionLoss"} == set(losses.__all__)


def test_every_head_and_loss_that_takes_a_ring_goes_through_one():
    of_cases = [one for case in joined.RING for one in (joined.HEADS.get(case, list)() or [joined.LOSSES[case]()])]
    takes = {type(one).__name__ for one in of_cases if getattr(one, "takes_ring", False)}
    every = [getattr(heads, name) for name in heads.__all__] + [getattr(losses, name) for name in losses.__all__]
    assert takes == {one.__name__ for one in every if getattr(one, "takes_ring", False)}


def test_a_ring_that_nothing_could_use_is_refused():
    views = {"pair": joined.Mirror()}
    with pytest.raises(ConfigError, match=r"none of the heads has one \(observation, local\)"):
        ContrastiveLearner(
            torch.nn.Identity(),
            [heads.ObservationHead("pair"), heads.LocalHead("pair")],
            views,
            across_processes="ring",
        )
    with pytest.raises(ConfigError, match="RegressionLoss has none"):
        CrossModalLearner(torch.nn.Identity(), losses.RegressionLoss(), across_processes="ring")
