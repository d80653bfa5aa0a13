"""A run of two processes (gloo, CPU) that was stopped goes on as if nothing had happened."""

import shutil
from functools import partial

import pandas as pd
import pytest
import torch
from pieces import COHORT, LEARNER

KEEP = '''
import shutil
from pathlib import Path

import lightning as L


class Keep(L.Callback):
    """Keep a copy of the last checkpoint by the step that it was written after."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        last = Path(trainer.default_root_dir, "checkpoints", "last.ckpt")
        if trainer.is_global_zero and last.exists():
            shutil.copy(last, Path(__file__).parent / f"{trainer.global_step}.ckpt")
'''

HEADS = """\
    heads:
      - {class_path: tscl.heads.ObservationHead, init_args: {view: learned, weight: 0.25}}
      - {class_path: tscl.heads.SampleHead, init_args: {view: learned, weight: 0.25}}
      - {class_path: tscl.heads.GroupHead, init_args: {level: patient, weight: 0.5}}
    views:
      clean: tscl.augmenters.Identity
      learned: tscl.augmenters.ParametricAugmenter
    lr: 1.0e-2
    across_processes: ring
"""
TRAINER = """\
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  max_epochs: 2
  enable_progress_bar: false
  callbacks: [keep.Keep]
checkpoint_every: 1
"""
BATCHES = 4
STEPS = [BATCHES // 2, BATCHES]


def words(folder, run):
    return ["--config", str(folder / "config.yaml"), "--trainer.default_root_dir", str(folder / run)]


def last(run):
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fit):
    """A configuration, with its run that was never stopped in ``whole``, and copies of its checkpoints."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "keep.py").write_text(KEEP)
    (folder / "config.yaml").write_text(LEARNER + HEADS + COHORT + TRAINER)
    fit(folder, words(folder, "whole"))
    return folder


@pytest.fixture(scope="module")
def resumed(folder, fit):
    """The folder with runs that go on at each of the steps, in new processes."""
    for step in STEPS:
        run = folder / f"stopped{step}"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copy(folder / f"{step}.ckpt", last(run))
    fit(folder, *([*words(folder, f"stopped{step}"), "--ckpt_path", "last"] for step in STEPS))
    return folder


@pytest.mark.parametrize("step", STEPS, ids=["within an epoch", "after an epoch"])
def test_resumed_it_ends_with_the_weights_and_the_log_of_the_run_that_went_through(resumed, step):
    folder, run, whole = resumed, resumed / f"stopped{step}", resumed / "whole"
    for name in ("encoder.safetensors", "augmenter_learned.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    read = partial(torch.load, weights_only=True)
    stopped, ours, theirs = (read(path) for path in (folder / f"{step}.ckpt", last(run), last(whole)))
    assert (stopped["global_step"], ours["global_step"], theirs["global_step"]) == (step, 2 * BATCHES, 2 * BATCHES)
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], rtol=0, atol=0, equal_nan=True)
    pd.testing.assert_frame_equal(*(pd.read_csv(one / "metrics.csv") for one in (run, whole)), rtol=1e-6)


def test_the_means_of_a_checkpoint_are_over_the_windows_of_both_processes(folder):
    state = torch.load(folder / f"{BATCHES}.ckpt", weights_only=True)["state_dict"]
    assert state["means.train/loss.weight"] == 40
