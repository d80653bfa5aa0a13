"""``tscl fit`` on two processes (gloo, CPU): windows, an augmenter that learns, and brain signals with speech.

An augmenter that learns is one augmenter, trained on the mean of both processes' gradients.
"""

import json
from collections import Counter

import pandas as pd
import pytest
import torch
from pieces import COHORT, LEARNER
from safetensors.torch import load_file

from tscl.data import HierarchicalBatchSampler
from tscl.data.datasets import SimulatedECG
from tscl.encoders import load_encoder

SPY = '''
import json
from pathlib import Path

import lightning as L


class Spy(L.Callback):
    """Write what each process saw, an augmenter's own and averaged gradients, and where it ended."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.seen = {}
        self.gradients = []

    def on_train_start(self, trainer, pl_module):
        training = getattr(pl_module, "augmenter_training", None)
        if training is None:
            return
        average = training.average

        def watched(gradient):
            averaged = average(gradient.clone())
            self.gradients.append([gradient[:50].tolist(), averaged[:50].tolist()])
            return averaged

        training.average = watched

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        sums = [round(float(x.nan_to_num(0).double().abs().sum()), 6) for x in batch.x]
        self.seen.setdefault(trainer.current_epoch, []).append(sums)

    def on_train_end(self, trainer, pl_module):
        means = ("mean.", "means.")
        state = {name: value for name, value in pl_module.state_dict().items() if not name.startswith(means)}
        report = {
            "seen": self.seen,
            "gradients": self.gradients,
            "weights": {name: value.double().sum().item() for name, value in state.items()},
            "world": trainer.world_size,
            "step": trainer.global_step,
        }
        Path(self.folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(report))
'''

TRAINER = """\
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  default_root_dir: FOLDER/run
  max_epochs: 2
  enable_progress_bar: false
  callbacks:
    - {class_path: spy.Spy, init_args: {folder: FOLDER}}
"""
WINDOWS = """\
    heads:
      - {class_path: tscl.heads.SampleHead, init_args: {weight: 0.5}}
      - {class_path: tscl.heads.GroupHead, init_args: {level: patient, weight: 0.5}}
    views: {clean: tscl.augmenters.Identity, masked: tscl.augmenters.LatentMask}
"""
LEARNED = """\
    heads:
      - {class_path: tscl.heads.GlobalHead, init_args: {view: learned}}
      - {class_path: tscl.heads.GroupHead, init_args: {level: patient, weight: 0.5}}
    views:
      clean: tscl.augmenters.Identity
      learned: {class_path: tscl.augmenters.ParametricAugmenter, init_args: {every: 2}}
"""
SPEECH = """\
seed_everything: 0
model:
  class_path: tscl.learners.CrossModalLearner
  init_args:
    encoder:
      class_path: tscl.encoders.BrainConv
      init_args: {virtual: 6, hidden: 8, depth: 2, n_frequencies: 4}
    loss: {class_path: tscl.losses.ClipLoss, init_args: {temperature: 0.1}}
    lr: 1.0e-2
data:
  class_path: tscl.data.speech.SpeechDataModule
  init_args:
    study: {class_path: tscl.data.datasets.SimulatedSpeech, init_args: {n_subjects: 2, minutes: 2}}
    representation: {class_path: tscl.data.speech.LogMel, init_args: {n_bands: 8}}
    batch_size: 48
    seconds: 1.5
    block_seconds: 10
    cache: FOLDER/cache
"""
RUNS = {"windows": LEARNER + WINDOWS + COHORT, "learned": LEARNER + LEARNED + COHORT, "speech": SPEECH}
"""Speech comes last: one of the processes judges it at the end."""


@pytest.fixture(scope="module")
def reported(tmp_path_factory, fit):
    """The folder of every run, and the report of each process."""
    home = tmp_path_factory.mktemp("ddp")
    (home / "spy.py").write_text(SPY)
    for name, text in RUNS.items():
        (home / name).mkdir()
        (home / name / "config.yaml").write_text((text + TRAINER).replace("FOLDER", str(home / name)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        fit(home, *(["--config", str(home / name / "config.yaml")] for name in RUNS))
    return {
        name: (home / name, [json.loads((home / name / f"rank{i}.json").read_text()) for i in (0, 1)]) for name in RUNS
    }


def test_every_window_is_seen_once_an_epoch_on_one_of_the_processes(reported):
    trained, ranks = reported["windows"]
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


def test_both_processes_end_with_the_same_weights(reported):
    trained, ranks = reported["windows"]
    assert [rank["world"] for rank in ranks] == [2, 2]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    saved = load_encoder(trained / "run").state_dict()
    for name, value in saved.items():
        assert value.double().sum().item() == ranks[0]["weights"][f"average.module.{name}"]


def test_the_run_is_written_once(reported):
    run = reported["windows"][0] / "run"
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1]
    assert metrics["train/loss"].notna().all()
    assert len(list((run / "tensorboard").glob("events*"))) == 1
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt"}
    assert (run / "model_card.md").read_text().count("# Model card") == 1


def test_both_processes_end_with_the_same_augmenter(reported):
    trained, ranks = reported["learned"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert any(name.startswith("views.learned.trunk") for name in ranks[0]["weights"])
    for name, value in load_file(trained / "run" / "augmenter_learned.safetensors").items():
        assert value.double().sum().item() == ranks[0]["weights"][f"views.learned.{name}"]


def test_every_second_step_takes_the_mean_of_the_processes_gradients(reported):
    _, ranks = reported["learned"]
    steps = [len(rank["gradients"]) for rank in ranks]
    assert steps[0] == steps[1] == -(-ranks[0]["step"] // 2) > 1
    for (own, averaged), (other, averaged_there) in zip(ranks[0]["gradients"], ranks[1]["gradients"], strict=True):
        assert own != other
        assert averaged == averaged_there
        expected = (torch.tensor(own) + torch.tensor(other)) / 2
        torch.testing.assert_close(torch.tensor(averaged), expected)


def test_both_processes_end_with_the_same_weights_of_speech(reported):
    folder, ranks = reported["speech"]
    assert [rank["world"] for rank in ranks] == [2, 2]
    assert ranks[0]["step"] > 2
    different = [name for name, value in ranks[0]["weights"].items() if value != ranks[1]["weights"][name]]
    assert different == []
    assert {"best_loss", "loss.log_scale", "encoder.subjects.matrices"} <= set(ranks[0]["weights"])
    for name, value in load_encoder(folder / "run").state_dict().items():
        assert value.double().sum().item() == ranks[0]["weights"][f"best.{name}"]


def test_every_window_of_speech_is_seen_once_on_one_of_the_processes(reported):
    folder, ranks = reported["speech"]
    manifest = json.loads((folder / "run" / "split.json").read_text())
    of_rank = [[x for batch in rank["seen"]["0"] for x in batch] for rank in ranks]
    seen = of_rank[0] + of_rank[1]
    assert len(seen) == len(set(seen)) == manifest["train"]["windows"]
    assert all(len(one) > 0.4 * len(seen) for one in of_rank)


def test_a_run_on_speech_is_judged_once(reported):
    folder, _ = reported["speech"]
    manifest = json.loads((folder / "run" / "split.json").read_text())
    assert len(pd.read_csv(folder / "run" / "results" / "queries.csv")) == manifest["test"]["windows"]
    assert (folder / "run" / "model_card.md").read_text().count("## Results") == 1
    assert pd.read_csv(folder / "run" / "metrics.csv")["epoch"].tolist() == [0, 1]
