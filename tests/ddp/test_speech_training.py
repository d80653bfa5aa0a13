"""Brain signals matched with speech on two processes (gloo, CPU)."""

import json

import pandas as pd
import pytest

from tscl.encoders import load_encoder

SPY = '''
import json
from pathlib import Path

import lightning as L


class Spy(L.Callback):
    """Write what each process saw in the first epoch, and where it ended."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 0:
            self.seen += [round(float(x.nan_to_num(0).double().abs().sum()), 4) for x in batch.x]

    def on_train_end(self, trainer, pl_module):
        state = {name: value for name, value in pl_module.state_dict().items() if not name.startswith("mean.")}
        weights = {name: value.double().sum().item() for name, value in state.items()}
        report = {"seen": self.seen, "weights": weights, "world": trainer.world_size, "step": trainer.global_step}
        Path(self.folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(report))
'''

CONFIG = """\
seed_everything: 0
model:
  class_path: tscl.learners.CrossModalLearner
  init_args:
    encoder:
      class_path: tscl.encoders.BrainConv
      init_args: {{virtual: 6, hidden: 8, depth: 2, n_frequencies: 4}}
    loss: {{class_path: tscl.losses.ClipLoss, init_args: {{temperature: 0.1}}}}
    lr: 1.0e-2
data:
  class_path: tscl.data.speech.SpeechDataModule
  init_args:
    study: {{class_path: tscl.data.datasets.SimulatedSpeech, init_args: {{n_subjects: 2, minutes: 2}}}}
    representation: {{class_path: tscl.data.speech.LogMel, init_args: {{n_bands: 8}}}}
    batch_size: 48
    seconds: 1.5
    block_seconds: 10
    cache: {folder}/cache
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
def reported(two_processes, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        return two_processes(SPY, CONFIG)


def test_both_processes_end_with_the_same_weights(reported):
    folder, ranks = reported
    assert [rank["world"] for rank in ranks] == [2, 2]
    assert ranks[0]["step"] > 2
    different = [name for name, value in ranks[0]["weights"].items() if value != ranks[1]["weights"][name]]
    assert different == []
    assert {"best_loss", "loss.log_scale", "encoder.subjects.matrices"} <= set(ranks[0]["weights"])
    for name, value in load_encoder(folder / "run").state_dict().items():
        assert value.double().sum().item() == ranks[0]["weights"][f"best.{name}"]


def test_every_window_is_seen_once_on_one_of_the_processes(reported):
    folder, ranks = reported
    manifest = json.loads((folder / "run" / "split.json").read_text())
    seen = ranks[0]["seen"] + ranks[1]["seen"]
    assert len(seen) == len(set(seen)) == manifest["train"]["windows"]
    assert all(len(rank["seen"]) > 0.4 * len(seen) for rank in ranks)


def test_the_run_is_judged_once(reported):
    folder, _ = reported
    manifest = json.loads((folder / "run" / "split.json").read_text())
    assert len(pd.read_csv(folder / "run" / "results" / "queries.csv")) == manifest["test"]["windows"]
    assert (folder / "run" / "model_card.md").read_text().count("## Results") == 1
    assert pd.read_csv(folder / "run" / "metrics.csv")["epoch"].tolist() == [0, 1]
