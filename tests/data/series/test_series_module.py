import json

import numpy as np
import pandas as pd
import pytest

from tscl.cli.main import main
from tscl.data import SeriesDataModule, WindowDataset, load_task
from tscl.errors import ConfigError, DataError, LeakageError

N = 500
CONFIG = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder: {{class_path: tscl.encoders.DilatedConvEncoder, init_args: {{dim: 4, hidden: 4, depth: 2}}}}
    heads: [{{class_path: tscl.heads.HierarchicalHead, init_args: {{view: masked}}}}]
    views: {{masked: tscl.augmenters.LatentMask}}
data:
  class_path: tscl.data.SeriesDataModule
  init_args: {{path: {path}, target: OT, horizons: [24], window: 20, stride: 10, batch_size: 8}}
trainer:
  accelerator: cpu
  default_root_dir: {run}
  max_epochs: 1
  enable_progress_bar: false
"""


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    times = pd.date_range("2016-07-01", periods=N, freq="1h")
    return pd.DataFrame({"OT": rng.normal(20, 9, N), "load": np.arange(N) * 1.0}, index=times)


@pytest.fixture
def csv(tmp_path, table):
    table.to_csv(tmp_path / "mine.csv", index_label="date")
    return tmp_path / "mine.csv"


def module(path, **options):
    return SeriesDataModule(str(path), **{"multivariate": True, "horizons": [24], "window": 33, "stride": 5} | options)


def test_windows_are_views_of_the_part_they_belong_to(csv):
    data = module(csv)
    assert (data.n_channels, data.n_classes) == (9, 0)
    data.setup()
    task = load_task(csv, multivariate=True, horizons=[24])
    assert isinstance(data.split.train, WindowDataset)
    for side, part in ((data.split.train, slice(0, 300)), (data.split.val, slice(300, 400))):
        starts = range(part.start, part.stop - 33 + 1, 5)
        expected = np.stack([task.x[:, start : start + 33] for start in starts])
        np.testing.assert_array_equal(side.numpy(), expected)
        np.testing.assert_array_equal(side[np.arange(len(side))].x.numpy(), expected)
        assert np.shares_memory(side.signals, data.task.x)
        assert side.metadata["onset"].tolist() == [3600.0 * start for start in starts]
        assert side.channels.names == task.channel_names
        assert (side.channels.unit, side.channels.sfreq, side.levels) == ("z", 1 / 3600, ())
    assert len(data.split.test) == 0
    assert data.task is data.load() is data.data
    assert data.data.skipped == ()


def test_nothing_after_the_training_part_is_seen(csv, table, tmp_path):
    other = table.copy()
    other.iloc[300:] *= -50
    other.to_csv(tmp_path / "other.csv", index_label="date")
    sides = [module(path) for path in (csv, tmp_path / "other.csv")]
    for side in sides:
        side.setup()
    np.testing.assert_array_equal(sides[0].split.train.numpy(), sides[1].split.train.numpy())
    assert not np.allclose(sides[0].split.val.numpy(), sides[1].split.val.numpy())


def test_batches_show_every_window_once_and_depend_on_the_seed(csv):
    def epoch(seed):
        data = module(csv, batch_size=7, seed=seed)
        data.setup()
        return [batch.x.numpy() for batch in data.train_dataloader()], data

    batches, data = epoch(0)
    again, other = epoch(0)[0], epoch(1)[0]
    assert max(map(len, batches)) <= 7
    assert sum(map(len, batches)) == len(data.split.train) == 54
    assert len({batch[i].tobytes() for batch in batches for i in range(len(batch))}) == 54
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, other, strict=True))
    [val] = data.val_dataloader()
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in val]), data.split.val.numpy())


def test_the_manifest_says_which_time_is_on_which_side(csv):
    data = module(csv)
    data.setup()
    said = json.loads(json.dumps(data.split.manifest))
    assert said == data.split.manifest
    assert (said["by"], said["source"], said["step"], said["variables"]) == (
        "time", "mine.csv", "0 days 01:00:00", ["OT", "load"],
    )  # fmt: skip
    assert said["train"] == {
        "ids": ["2016-07-01 00:00:00 to 2016-07-13 11:00:00"], "from": "2016-07-01 00:00:00",
        "to": "2016-07-13 11:00:00", "steps": 300, "windows": 54, "classes": {},
    }  # fmt: skip
    assert (said["val"]["from"], said["test"]["windows"]) == ("2016-07-13 12:00:00", 0)
    assert (said["window"], said["mean"]) == (33, data.task.mean.tolist())
    data.split.val = data.split.train.select([0])
    with pytest.raises(LeakageError, match="overlap in time"):
        data.split.check()


def test_empty_windows_are_left_out_aloud(table, tmp_path, caplog):
    table.iloc[50:120, 0] = np.nan
    table.to_csv(tmp_path / "holes.csv", index_label="date")
    data = module(tmp_path / "holes.csv", multivariate=False, target="OT")
    data.setup()
    empty = [start for start in range(0, 268, 5) if start >= 50 and start + 33 <= 120]
    assert len(data.split.train) == 54 - len(empty)
    assert not np.isnan(data.split.train.numpy()[:, 0]).all(axis=1).any()
    assert f"{len(empty)} of 54 windows of the training part hold no value" in caplog.text
    assert "nothing is known from 2016-07-03 02:00:00 to 2016-07-05 23:00:00" in caplog.text
    both = module(tmp_path / "holes.csv")
    both.setup()
    assert len(both.split.train) == 54  # the other variable has values there


def test_windows_that_cannot_be(csv, table, tmp_path, caplog):
    with pytest.raises(DataError, match="training part has 300 steps, fewer than one window of 301: .* at most 300"):
        module(csv, window=301).setup()
    data = module(csv, window=101)
    data.setup()
    assert data.split.val is None
    assert data.val_dataloader() == []
    assert "nothing is validated" in caplog.text
    for name in ("window", "stride", "batch_size"):
        with pytest.raises(ConfigError, match=f"{name} is 0: it must be 1 or more"):
            module(csv, **{name: 0})
    table.iloc[:298, 0] = np.nan
    table.to_csv(tmp_path / "late.csv", index_label="date")
    with pytest.raises(DataError, match="no window of 33 steps in the training part holds a value"):
        module(tmp_path / "late.csv", multivariate=False, target="OT", stride=200).setup()


def test_fit_and_resume(csv, table, tmp_path, capsys):
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(CONFIG.format(path=csv, run=run))
    assert main(["fit", "--config", str(config)]) == 0
    manifest = json.loads((run / "split.json").read_text())
    assert manifest["train"]["windows"] == 29
    card = (run / "model_card.md").read_text()
    assert "SeriesTask(mine" in card
    assert "2016-07-01 00:00:00 to 2016-07-13 11:00:00" in card
    more = ["fit", "--config", str(config), "--ckpt_path", "last", "--trainer.max_epochs", "2"]
    assert main(more) == 0
    assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == [0, 1]
    more[-1] = "3"
    before = (run / "encoder.safetensors").read_bytes()
    for options in (["--data.split", "50/25/25"], ["--data.window", "21"], ["--data.target", "load"]):
        capsys.readouterr()
        assert main([*more, *options]) == 1
        assert "not those of the checkpoint" in capsys.readouterr().err
    (table * 1.01).to_csv(csv, index_label="date")
    assert main(more) == 1
    assert "not those of the checkpoint" in capsys.readouterr().err
    assert (run / "encoder.safetensors").read_bytes() == before


BAD = {
    "absent file": (["--data.path", "absent.csv"], "absent.csv does not exist"),
    "absent column": (["--data.target", "Nope"], "'Nope' is not in the file"),
    "absent date": (["--data.date", "when"], "no date column 'when'"),
    "horizon": (["--data.horizons", "[24, 900]"], "horizon of 900 steps reaches beyond"),
    "window": (["--data.window", "9000"], "fewer than one window of 9000"),
    "stride": (["--data.stride", "0"], "stride is 0"),
    "scheme": (["--data.split", "ett"], "needs 14400 steps"),
    "shares": (["--data.split", "60/20/10"], "sum to 90"),
    "contradiction": (["--data.multivariate", "true"], "choose one of both"),
    "misspelt": (["--data.targett", "OT"], "'targett' is not accepted"),
    "regularise": (["--data.regularise", "maybe"], "regularise"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_run_that_cannot_be_leaves_nothing_behind(csv, tmp_path, capsys, what):
    options, said = BAD[what]
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(path=csv, run=tmp_path / "run"))
    assert main(["fit", "--config", str(config), *options]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (tmp_path / "run").exists()
