import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "quality" / "classification.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("classification_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for name, channels in (("One", 1), ("Two", 2)):
        y = np.arange(24) % 2
        X = rng.normal(size=(24, channels, 20)) + y[:, None, None] * np.sin(np.arange(20))
        folder = tmp_path / "sets"
        folder.mkdir(exist_ok=True)
        np.savez(folder / f"{name}.npz", X_train=X[:12], y_train=y[:12], X_test=X[12:], y_test=y[12:])
    return tmp_path


def test_sections_keep_every_value_in_order(bench):
    X = np.arange(2 * 3 * 10, dtype=float).reshape(2, 3, 10)
    cut = bench.sections(X, 4)
    assert cut.shape == (6, 3, 4)
    np.testing.assert_array_equal(np.concatenate(list(cut[:3]), axis=1)[:, :10], X[0])
    assert np.isnan(cut[2, :, 2:]).all()
    np.testing.assert_array_equal(bench.sections(X, 10), X)
    X[1, :, 4:] = np.nan
    assert len(bench.sections(X, 4)) == 4


def test_ranks_are_averaged_over_sets(bench):
    scores = pd.DataFrame({"a": [0.9, 0.5, 0.7], "b": [0.8, 0.5, 0.9], "c": [0.1, 0.2, 0.3]})
    found = bench.ranking(scores)
    expected = np.mean([rankdata(-row) for row in scores.to_numpy()], axis=0)
    assert found["rank"].tolist() == pytest.approx(expected)
    assert found["best"].tolist() == [2, 2, 0]
    assert bench.critical_difference(5, 30) == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 30)), rel=1e-3)


def test_claims_are_judged(bench):
    scores = pd.DataFrame({"AutoTCL": [0.9, 0.8, 0.7], "TS2Vec": [0.88, 0.78, 0.7], "MiniRocket": [0.95, 0.9, 0.8]})
    first, second = bench.claims(scores)
    assert "+1.3 points on average (target +1.2: reached)" in first
    assert "better on 2, equal on 1, worse on 0 sets" in first
    assert "-8.3 points on average (target -1.0: not reached)" in second


def test_what_is_done_is_not_done_again(bench, root, monkeypatch, capsys):
    out = root / "results"
    arguments = ["x", "--root", str(root), "--models", "random weights", "--out", str(out), "--seeds"]
    monkeypatch.setattr(sys, "argv", [*arguments, "0"])
    bench.main()
    rows = pd.read_csv(out / "classification.csv")
    assert rows[["set", "method"]].drop_duplicates().shape[0] == 2 * 3
    assert rows["channels"].tolist() == [1] * 3 + [2] * 3
    assert rows["accuracy"].between(0, 1).all()
    monkeypatch.setattr(sys, "argv", [*arguments, "0", "1"])
    bench.main()
    assert "2 of 2 x 2 x 1 to do" in capsys.readouterr().out
    later = pd.read_csv(out / "classification.csv")
    pd.testing.assert_frame_equal(later.iloc[:6], rows)
    assert len(later) == 12
    page = (out / "classification.md").read_text()
    means = later[later["method"] == "svm"].groupby("set")["accuracy"].mean()
    for name, value in means.items():
        assert f"| {name} | {value:.3f} |" in page


def test_every_learned_model_trains(bench, root, monkeypatch):
    monkeypatch.setattr(bench, "SIZE", {"dim": 8, "hidden": 4, "depth": 2})
    monkeypatch.setattr(bench, "STEPS", 2)
    for model in bench.MODELS:
        if model not in ("MiniRocket", "1-NN-DTW"):
            rows = bench.measure(root / "sets", "Two", model, 0)
            assert rows["method"].tolist() == ["knn", "probe", "svm"]


def test_an_unknown_set_is_refused(bench, root, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--root", str(root), "--sets", "Three", "--out", str(root)])
    with pytest.raises(SystemExit):
        bench.main()
    assert "has no set Three; it has One, Two" in capsys.readouterr().err
