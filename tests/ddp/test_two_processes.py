"""``tscl fit`` on two processes (gloo, CPU)."""

import json
from collections import Counter

import pandas as pd
import pytest
import torch

from tscl.data import HierarchicalBatchSampler
from tscl.data.datasets import SimulatedECG
from tscl.encoders import load_encoder

SPY = '''
import json
from pathlib import Path

import lightning as L


class Spy(L.Callback):
    """Write what each process saw and where it ended."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.seen = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        sums = [round(float(x.double().abs().sum()), 6) for x in batch.x]
        self.seen.setdefault(trainer.current_epoch, []).append(sums)

    def on_train_end(self, trainer, pl_module):
        state = {name: value for name, value in pl_module.state_dict().items() if "means" not in name}
        weights = {name: value.double().sum().item() for name, value in state.items()}
        report = {"seen": self.seen, "weights": weights, "world": trainer.world_size}
        Path(self.folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(report))
'''

CONFIG = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {{class_path: tscl.encoders.DilatedConvEncoder, init_args: {{dim: 8, hidden: 8, depth: 2}}}}
    heads:
      - {{class_path: tscl.heads.SampleHead, init_args: {{weight: 0.5}}}}
      - {{class_path: tscl.heads.GroupHead, init_args: {{level: patient, weight: 0.5}}}}
    views: {{clean: tscl.augmenters.Identity, masked: tscl.augmenters.LatentMask}}
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


def test_every_window_is_seen_once_an_epoch_on_one_of_the_processes(trained, ranks):
    data = SimulatedECG(n_patients=8, n_trials=2).load()
    train = data.select(
        data.metadata["patient"].isin(json.loads((trained / "run/split.json").read_text())["train"]["ids"])
    )
    windows = [round(float(x.double().abs().sum()), 6) for x in torch.from_numpy(train.numpy())]
    assert len(set(windows)) == len(windows) == 40
    for epoch in ("0", "1"):
        batches = [rank["seen"][epoch] for rank in ranks]
        assert len(batches[0]) == len(batches[1])
        assert Counter(x for rank in batches for batch in rank for x in batch) == Counter(windows)
    assert ranks[0]["seen"]["0"] != ranks[0]["seen"]["1"]

    for rank in range(2):
        sampler = HierarchicalBatchSampler.from_dataset(train, 8, num_replicas=2, rank=rank)
        expected = [[windows[i] for i in batch] for batch in sampler]
        assert ranks[rank]["seen"]["0"] == expected


def test_both_processes_end_with_the_same_weights(trained, ranks):
    assert [rank["world"] for rank in ranks] == [2, 2]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    saved = load_encoder(trained / "run").state_dict()
    for name, value in saved.items():
        assert value.double().sum().item() == ranks[0]["weights"][f"average.module.{name}"]


def test_the_run_is_written_once(trained):
    run = trained / "run"
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1]
    assert metrics["train/loss"].notna().all()
    assert len(list((run / "tensorboard").glob("events*"))) == 1
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt"}
    assert (run / "model_card.md").read_text().count("# Model card") == 1
