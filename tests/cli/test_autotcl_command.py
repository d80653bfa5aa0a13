"""``tscl fit`` with an augmenter that learns: what a run leaves behind, and a resume at any step."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tscl.augmenters import ParametricAugmenter
from tscl.cli.main import main
from tscl.encoders import load_state
from tscl.learners.checkpoint import AtomicCheckpointIO

CONFIG = """\
seed_everything: 3
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {{class_path: tscl.encoders.CausalConvEncoder, init_args: {{dim: 8, hidden: 4, depth: 2}}}}
    heads:
      - {{class_path: tscl.heads.GlobalHead, init_args: {{view: learned, weight: 1.0}}}}
      - {{class_path: tscl.heads.LocalHead, init_args: {{view: learned, weight: 0.3, segments: 4}}}}
    views:
      learned:
        class_path: tscl.augmenters.ParametricAugmenter
        init_args:
          trunk: {{class_path: tscl.encoders.DilatedConvEncoder, init_args: {{dim: 4, hidden: 4, depth: 1}}}}
          every: 2
    lr: 1.0e-3
data:
  class_path: tscl.data.SeriesDataModule
  init_args: {{path: {path}, target: load, horizons: [6], spans: [4, 24], window: 33, stride: 20, batch_size: 6}}
trainer: {{accelerator: cpu, default_root_dir: {run}, max_epochs: 2, enable_progress_bar: false}}
checkpoint_every: 1
"""


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    path = tmp_path_factory.mktemp("series") / "load.csv"
    rng = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=600, freq="1h")
    pd.DataFrame({"date": times, "load": rng.normal(size=600).cumsum()}).to_csv(path, index=False)
    return path


def config(folder, series, name="run"):
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(path=series, run=folder / name))
    return str(path)


def test_a_resume_at_every_step_ends_bit_for_bit_the_same(tmp_path, series, monkeypatch):
    kept = tmp_path / "kept"
    kept.mkdir()
    save = AtomicCheckpointIO.save_checkpoint

    def save_and_keep(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        shutil.copy(path, kept / f"{checkpoint['global_step']:02d}.ckpt")

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_and_keep)
        assert main(["fit", "--config", config(tmp_path, series, "whole")]) == 0
    whole = tmp_path / "whole"
    checkpoints = sorted(kept.iterdir())
    assert len(checkpoints) == 6
    for checkpoint in checkpoints[:-1]:
        run = tmp_path / checkpoint.stem
        assert main(["fit", "--config", config(tmp_path, series, run.name), "--ckpt_path", str(checkpoint)]) == 0
        for name in ("encoder.safetensors", "augmenter_learned.safetensors", "metrics.csv"):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), f"{name}, {checkpoint.name}"


@pytest.fixture(scope="module")
def run(tmp_path_factory, series):
    folder = tmp_path_factory.mktemp("autotcl")
    assert main(["fit", "--config", config(folder, series)]) == 0
    return folder / "run"


def test_the_run_holds_the_augmenter_its_terms_and_its_mask(run):
    metrics = pd.read_csv(run / "metrics.csv")
    for term in ("mmd", "mask", "kept"):
        assert metrics[f"train/learned/{term}"].notna().all()
    assert (run / "figures" / "mask_learned.png").stat().st_size > 5000
    saved = load_file(run / "augmenter_learned.safetensors")
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    for name, value in saved.items():
        assert torch.equal(value, state["state_dict"][f"views.learned.{name}"])
    assert len(state["augmenter_training"]["state"]) == len(saved)

    from tscl.encoders import DilatedConvEncoder

    augmenter = ParametricAugmenter(lambda channels: DilatedConvEncoder(channels, dim=4, hidden=4, depth=1))
    augmenter.build(1 + 2 + 7)
    load_state(augmenter, run / "augmenter_learned.safetensors")
    mask, transform = augmenter.eval().explain(torch.randn(2, 10, 33))
    assert mask.shape == (2, 33)
    assert transform.shape == (2, 10, 33)


def test_the_run_is_judged_by_its_forecasts(run):
    assert main(["evaluate", "--run", str(run), "--context", "30", "--lags", "30", "--accelerator", "cpu"]) == 0
    assert "| ours, this run |" in (run / "results" / "results.md").read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective": "both"}, "objective"),
        ({"use_mask": False, "use_transform": False}, "nothing to learn"),
        ({"every": 0}, "every is 0"),
    ],
)
def test_settings_that_cannot_be_leave_nothing_behind(tmp_path, series, settings, said, capsys):
    path = Path(config(tmp_path, series))
    text = yaml.safe_load(path.read_text())
    text["model"]["init_args"]["views"]["learned"]["init_args"].update(settings)
    path.write_text(yaml.safe_dump(text))
    assert main(["fit", "--config", str(path)]) == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert said in error
    assert not (tmp_path / "run").exists()
