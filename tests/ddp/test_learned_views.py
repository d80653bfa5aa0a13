"""An augmenter that learns on two processes (gloo, CPU): one augmenter, trained on the mean of both gradients."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("this torch has no gloo backend", allow_module_level=True)

SPY = '''
import json
from pathlib import Path

import lightning as L
import torch
from tscl.learners.augmenter_training import AugmenterTraining


class Spy(L.Callback):
    """Write each process's own and averaged gradients of the first step, and where it ended."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.gradients = []

    def on_train_start(self, trainer, pl_module):
        training = pl_module.augmenter_training
        average = training.average

        def watched(gradient):
            averaged = average(gradient.clone())
            self.gradients.append([gradient[:50].tolist(), averaged[:50].tolist()])
            return averaged

        training.average = watched

    def on_train_end(self, trainer, pl_module):
        state = {name: value for name, value in pl_module.state_dict().items() if "means" not in name}
        weights = {name: value.double().sum().item() for name, value in state.items()}
        report = {"gradients": self.gradients, "weights": weights, "step": trainer.global_step}
        Path(self.folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(report))
'''

CONFIG = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {{class_path: tscl.encoders.DilatedConvEncoder, init_args: {{dim: 8, hidden: 8, depth: 2}}}}
    heads:
      - {{class_path: tscl.heads.GlobalHead, init_args: {{view: learned}}}}
      - {{class_path: tscl.heads.GroupHead, init_args: {{level: patient, weight: 0.5}}}}
    views:
      clean: tscl.augmenters.Identity
      learned: {{class_path: tscl.augmenters.ParametricAugmenter, init_args: {{every: 2}}}}
data:
  class_path: tscl.data.CohortDataModule
  init_args:
    study: {{class_path: tscl.data.datasets.SimulatedECG, init_args: {{n_patients: 8, n_trials: 2}}}}
    batch_size: 8
    split: {{val: 0.2, test: 0.3, seed: 0}}
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  default_root_dir: {folder}/run
  max_epochs: 2
  enable_progress_bar: false
  callbacks:
    - {{class_path: spy.Spy, init_args: {{folder: {folder}}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "spy.py").write_text(SPY)
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder))
    path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "tscl.cli.main", "fit", "--config", str(folder / "config.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_both_processes_end_with_the_same_weights(folder, ranks):
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert any(name.startswith("views.learned.trunk") for name in ranks[0]["weights"])
    for name, value in load_file(folder / "run" / "augmenter_learned.safetensors").items():
        assert value.double().sum().item() == ranks[0]["weights"][f"views.learned.{name}"]


def test_every_second_step_takes_the_mean_of_the_processes_gradients(ranks):
    steps = [len(rank["gradients"]) for rank in ranks]
    assert steps[0] == steps[1] == -(-ranks[0]["step"] // 2) > 1
    for (own, averaged), (other, averaged_there) in zip(ranks[0]["gradients"], ranks[1]["gradients"], strict=True):
        assert own != other
        assert averaged == averaged_there
        expected = (torch.tensor(own) + torch.tensor(other)) / 2
        torch.testing.assert_close(torch.tensor(averaged), expected)
