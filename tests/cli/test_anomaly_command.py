"""A run on a labelled series, from the configuration to the table of its anomalies."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tscl.cli.main import main

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "ts2vec" / "anomaly.yaml"


def write_series(path, seed=0, label="broken"):
    rng = np.random.default_rng(seed)
    n = 600
    values = {name: np.sin(np.arange(n) / speed) + 0.1 * rng.normal(size=n) for name, speed in (("a", 5), ("b", 9))}
    labels = np.zeros(n, dtype=int)
    for start in (430, 500, 560):
        values["a"][start : start + 6] += 4
        labels[start : start + 6] = 1
    dates = pd.date_range("2021-03-01", periods=n, freq="5min")
    pd.DataFrame({"date": dates, **values, label: labels}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anomaly")
    file = write_series(folder / "pump.csv")
    settings = {
        "data.path": file,
        "data.label": "broken",
        "data.window": 41,
        "model.encoder.dim": 8,
        "model.encoder.hidden": 8,
        "model.encoder.depth": 2,
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
        "trainer.default_root_dir": folder / "run",
    }
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    assert main(["fit", "--config", str(CONFIG), *options]) == 0
    return folder / "run"


def test_a_run_is_judged_on_its_series_and_on_another(run, capsys, tmp_path):
    fast = ["--context", "40", "--accelerator", "cpu"]
    assert main(["evaluate", "--run", str(run), *fast]) == 0
    out = capsys.readouterr().out
    table = pd.read_csv(run / "results" / "results.csv").set_index("model")
    assert table.index.tolist() == [
        "this run",
        "random weights",
        "first difference",
        "ridge on 24 lags",
        "spectral residual",
    ]
    assert (table["segments"] == 2).all()
    assert table.loc["ridge on 24 lags", "tolerant_auprc"] == pytest.approx(1)
    assert table.loc["this run", "threshold"] != table.loc["random weights", "threshold"]
    steps = pd.read_csv(run / "results" / "alarms.csv", parse_dates=["date"])
    assert len(steps) == 120
    assert steps["label"].sum() == 12
    assert steps["score"].notna().all()
    text = (run / "results" / "results.md").read_text()
    assert "pump.csv, test part" in text
    assert "7 steps after the start" in text
    assert text.strip().splitlines()[-1] in out
    assert (run / "results" / "anomalies.png").stat().st_size > 5000
    assert (run / "model_card.md").read_text().count("## Results") == 1

    other = write_series(tmp_path / "other.csv", seed=1, label="wrong")
    more = ["--path", str(other), "--label", "wrong", "--part", "val", "--delay", "2", "--baselines", "false"]
    assert main(["evaluate", "--run", str(run), *fast, *more]) == 0
    again = pd.read_csv(run / "results" / "results.csv")
    assert again["model"].tolist() == ["this run"]
    assert again["segments"].tolist() == [1]
    card = (run / "model_card.md").read_text()
    assert card.count("## Results") == 1
    assert "other.csv, val part" in card

    assert main(["report", "--run", str(run), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "judged by the anomalies that it finds" in page
    assert "other.csv, val part" in page


def test_errors_are_one_sentence(run, capsys):
    assert main(["evaluate", "--run", str(run), "--label", "nothing"]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "'nothing'" in line
    assert main(["evaluate", "--run", str(run), "--context", "600"]) == 1
    assert "600 steps, not more than the context of 600" in capsys.readouterr().err
    assert main(["evaluate", "--run", str(run), "--part", "train"]) == 1
    assert "train" in capsys.readouterr().err
