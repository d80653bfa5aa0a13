"""``tscl evaluate`` and ``tscl embed`` on a run that was trained on one long series."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tscl.cli.main import main
from tscl.cli.run import kind_of, open_run
from tscl.errors import LeakageError

CONFIG = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder:
      class_path: {encoder}
      init_args: {{dim: 8, hidden: 4, depth: 2}}
    heads:
      - {{class_path: tscl.heads.HierarchicalHead, init_args: {{view: crops, weight: 1.0}}}}
    views:
      crops: tscl.augmenters.OverlappingCrops
    lr: 1.0e-3
data:
  class_path: tscl.data.SeriesDataModule
  init_args:
    path: {path}
    target: load
    horizons: [6, 24]
    window: 33
    stride: 8
    batch_size: 16
trainer:
  accelerator: cpu
  default_root_dir: {run}
  max_epochs: 1
  enable_progress_bar: false
"""
BASELINES = {
    "random weights",
    "ours, random weights",
    "ours, no embedding",
    "last value",
    "last day",
    "ridge on lags",
    "ridge on centred lags",
}


def write_series(path, n=600, start="2020-01-01"):
    rng = np.random.default_rng(0)
    hours = np.arange(n)
    load = 50 + 10 * np.sin(2 * np.pi * hours / 24) + rng.normal(size=n).cumsum() * 0.2
    times = pd.date_range(start, periods=n, freq="1h")
    pd.DataFrame({"date": times, "load": load, "wind": rng.normal(size=n)}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run on 600 hours."""
    folder = tmp_path_factory.mktemp("series")
    path = write_series(folder / "load.csv")
    (folder / "config.yaml").write_text(
        CONFIG.format(path=path, run=folder / "run", encoder="tscl.encoders.CausalConvEncoder")
    )
    assert main(["fit", "--config", str(folder / "config.yaml")]) == 0
    return folder / "run"


@pytest.fixture
def run(fitted, tmp_path):
    """A copy of the run, to be written to."""
    shutil.copytree(fitted, tmp_path / "run")
    return tmp_path / "run"


def last_error(capsys):
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def test_a_run_on_a_series_is_judged_by_its_forecasts(run, capsys):
    options = ["--run", str(run), "--context", "30", "--lags", "30", "--accelerator", "cpu"]
    assert main(["evaluate", *options]) == 0
    table = pd.read_csv(run / "results" / "results.csv")
    assert set(table["model"]) == {"this run", "ours, this run"} | BASELINES
    assert sorted(table["horizon"].unique()) == [6, 24]
    assert (table["n_test"] == 120 - table["horizon"]).all()
    assert table[["mse", "mae"]].gt(0).all(axis=None)
    said = (run / "results" / "results.md").read_text()
    assert "load.csv" in said
    assert "| this run |" in said
    statement, lines = said.split("\n\n")
    out = capsys.readouterr().out
    assert statement in out
    assert lines.strip() in out
    assert (run / "results" / "forecasts.png").stat().st_size > 5000
    card = (run / "model_card.md").read_text()
    assert card.startswith("# Model card")
    assert card.rstrip().endswith(said.strip())

    assert main(["evaluate", f"--run={run}", *options[2:], "--baselines", "false", "--horizons", "[12]"]) == 0
    again = pd.read_csv(run / "results" / "results.csv")
    assert again[["model", "horizon"]].to_numpy().tolist() == [["this run", 12], ["ours, this run", 12]]
    assert (run / "model_card.md").read_text().count("## Results") == 1

    assert main(["report", "--run", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "The training part ends at 2020-01-15 23:00:00; the test part begins at 2020-01-21 00:00:00." in page
    assert "<td>ours, this run</td>" in page
    drawn = [path.name for path in (*run.glob("figures/*.png"), *run.glob("results/*.png"))]
    assert page.count("<img src=") == len(set(drawn) - {"training.png"}) == 2
    assert 'id="map"' not in page


def test_another_series_and_what_is_refused(run, tmp_path, capsys):
    other = write_series(tmp_path / "other.csv", n=800)
    options = ["--context", "30", "--lags", "30", "--accelerator", "cpu", "--baselines", "false"]
    assert main(["evaluate", "--run", str(run), "--path", str(other), *options]) == 0
    assert "other.csv" in (run / "results" / "results.md").read_text()
    assert set(pd.read_csv(run / "results" / "results.csv")["n_test"]) == {160 - 6, 160 - 24}
    for given, said in {
        ("--path", str(tmp_path / "none.csv")): "none.csv",
        ("--horizons", "[120]"): "1 to 119",
        ("--label_fractions", "[0.1]"): "label_fractions",
        ("--method", "twice"): "method",
    }.items():
        capsys.readouterr()
        assert main(["evaluate", "--run", str(run), *options, *given]) == 1
        assert said in last_error(capsys)


def test_a_series_that_shrank_since_the_training_is_refused(run, tmp_path):
    cut = write_series(tmp_path / "load.csv", n=400)
    with pytest.raises(LeakageError, match="trained up to 2020-01-15 23:00:00"):
        open_run(run, ["--data.init_args.path", str(cut)])
    later = write_series(tmp_path / "load.csv", n=400, start="2021-01-01")
    assert open_run(run, ["--data.init_args.path", str(later)]).data.parts.sizes["test"] == 80


def test_a_row_a_time_step(run, tmp_path, capsys):
    out = tmp_path / "steps.parquet"
    assert main(["embed", "--run", str(run), "--out", str(out), "--accelerator", "cpu"]) == 0
    assert "600 time steps x 8 dimensions" in capsys.readouterr().out
    table = pd.read_parquet(out)
    assert table["date"].iloc[[0, -1]].astype(str).tolist() == ["2020-01-01 00:00:00", "2020-01-25 23:00:00"]
    assert table["part"].value_counts(sort=False).to_dict() == {"train": 360, "val": 120, "test": 120}
    values = table.filter(like="embedding_").to_numpy()
    assert values.shape == (600, 8)
    csv = tmp_path / "steps.csv"
    assert main(["embed", "--run", str(run), "--out", str(csv), "--method", "sliding", "--context", "200"]) == 0
    np.testing.assert_allclose(pd.read_csv(csv).filter(like="embedding_"), values, atol=1e-4)
    capsys.readouterr()
    assert main(["embed", "--run", str(run), "--out", str(tmp_path / "steps.xlsx")]) == 1
    assert ".parquet or .csv" in last_error(capsys)


def test_an_encoder_that_is_not_causal_slides(tmp_path):
    path = write_series(tmp_path / "load.csv", n=300)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(path=path, run=tmp_path / "run", encoder="tscl.encoders.DilatedConvEncoder"))
    assert main(["fit", "--config", str(config)]) == 0
    arguments = ["evaluate", "--run", str(tmp_path / "run"), "--context", "20", "--horizons", "[6]"]
    assert main([*arguments, "--accelerator", "cpu"]) == 0
    assert "this run" in set(pd.read_csv(tmp_path / "run" / "results" / "results.csv")["model"])


def test_the_kind_of_a_run_is_read_from_its_configuration(run, tmp_path):
    (tmp_path / "config.yaml").write_text("data: {class_path: tscl.data.CohortDataModule, init_args: {}}")
    assert kind_of(["--run", str(run)]) == kind_of([f"--run={run}", "--help"]) == "series"
    assert kind_of(["--run", str(run), "--label", "anomaly"]) == "anomalies"
    assert kind_of(["--run", str(tmp_path)]) == kind_of(["--run", "nowhere"]) == kind_of(["--help"]) == "windows"
    for broken in ("data: [", "model: {}", "data: {class_path: nowhere.Module}", "data: {class_path: numpy.nothing}"):
        (tmp_path / "config.yaml").write_text(broken)
        assert kind_of(["--run", str(tmp_path)]) == "windows"
    labelled = (run / "config.yaml").read_text().replace("label: null", "label: fault")
    (run / "config.yaml").write_text(labelled)
    assert kind_of(["--run", str(run)]) == "anomalies"


@pytest.mark.parametrize("command", ["evaluate", "embed"])
def test_help_shows_the_options_of_the_run(command, run, capsys):
    for args, shown, hidden in (
        (["--run", str(run), "--help"], "--context", "--pooling"),
        (["--help"], "--pooling", "--context"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([command, *args])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert shown in said
        assert hidden not in said
    assert "--run RUN --help" in " ".join(said.split())
