"""An augmenter that learns on two processes (gloo, CPU): one augmenter, trained on the mean of both gradients."""

import pytest
import torch
from safetensors.torch import load_file

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
def reported(two_processes):
    return two_processes(SPY, CONFIG)


@pytest.fixture(scope="module")
def trained(reported):
    return reported[0]


@pytest.fixture(scope="module")
def ranks(reported):
    return reported[1]


def test_both_processes_end_with_the_same_weights(trained, ranks):
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert any(name.startswith("views.learned.trunk") for name in ranks[0]["weights"])
    for name, value in load_file(trained / "run" / "augmenter_learned.safetensors").items():
        assert value.double().sum().item() == ranks[0]["weights"][f"views.learned.{name}"]


def test_every_second_step_takes_the_mean_of_the_processes_gradients(ranks):
    steps = [len(rank["gradients"]) for rank in ranks]
    assert steps[0] == steps[1] == -(-ranks[0]["step"] // 2) > 1
    for (own, averaged), (other, averaged_there) in zip(ranks[0]["gradients"], ranks[1]["gradients"], strict=True):
        assert own != other
        assert averaged == averaged_there
        expected = (torch.tensor(own) + torch.tensor(other)) / 2
        torch.testing.assert_close(torch.tensor(averaged), expected)
