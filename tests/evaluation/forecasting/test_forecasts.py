import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from tscl.data import load_task
from tscl.encoders import CausalConvEncoder
from tscl.errors import ConfigError, DataError
from tscl.evaluation import (
    Forecaster,
    ForecastResults,
    LastValue,
    PerVariable,
    RidgeForecaster,
    SeasonalNaive,
    beside,
    embed_series,
    embedding_features,
    evaluate_forecasts,
    lag_features,
)
from tscl.evaluation.forecasting import protocol
from tscl.evaluation.forecasting.origins import Targets, origins_of, with_targets


def make_task(n=400, variables=1, holes=(), horizons=(5,), freq="1h", covariates=True):
    rng = np.random.default_rng(0)
    steps = np.arange(n)[:, None]
    values = np.sin(2 * np.pi * steps / 24 + np.arange(variables)) + 0.1 * rng.normal(size=(n, variables)).cumsum(
        axis=0
    )
    for variable, start, stop in holes:
        values[start:stop, variable] = np.nan
    names = [f"v{number}" for number in range(variables)]
    frame = pd.DataFrame(values, index=pd.date_range("2020-01-01", periods=n, freq=freq), columns=names)
    return load_task(frame, multivariate=True, horizons=list(horizons), covariates=covariates)


class Constant(Forecaster):
    """Forecasts a number, NaN from the origins it does not know."""

    def __init__(self, value, unknown=()):
        self.value, self.unknown = value, unknown

    def fit(self, task, horizon):
        self.report, self.horizon = {"alpha": 3.0}, horizon
        return self

    def predict(self, task, origins):
        values = np.where(np.isin(origins, self.unknown), np.nan, self.value)
        return np.broadcast_to(values[:, None, None], (len(origins), self.horizon, task.n_variables))


def test_origins_and_their_targets_stay_in_the_part():
    origins = origins_of(slice(10, 20), 3, skip=2)
    assert origins.tolist() == [12, 13, 14, 15, 16]
    assert origins_of(slice(10, 12), 3).tolist() == []
    values = np.arange(40.0).reshape(2, 20)
    targets = Targets(values, origins, 3)
    assert targets.shape == (5, 6)
    whole = np.stack([values[:, t + 1 : t + 4].T.ravel() for t in origins])
    np.testing.assert_array_equal(targets[:, :], whole)
    np.testing.assert_array_equal(targets[:, 1:4], whole[:, 1:4])
    last = np.stack([np.tile(values[:, t], 3) for t in origins])
    np.testing.assert_array_equal(Targets(values, origins, 3, centred=True)[:, 2:5], (whole - last)[:, 2:5])
    values[1, 15] = np.nan
    assert with_targets(values, origins, 3).tolist() == [False, False, False, True, True]


def test_lags_end_at_their_step():
    task = make_task(50, 2)
    table = lag_features(4, per_variable=False)(task)
    assert table.shape == (50, 8)
    np.testing.assert_array_equal(table[10], np.concatenate([task.x[0, 7:11], task.x[1, 7:11]]))
    assert np.isnan(table[2]).any()
    own = lag_features(4, centred=True)(task)
    assert isinstance(own, PerVariable)
    assert len(own) == 2
    np.testing.assert_array_equal(own[1][10], task.x[1, 7:11] - task.x[1, 10])
    single = make_task(50)
    np.testing.assert_array_equal(lag_features(4)(single), lag_features(4, per_variable=False)(single))
    with pytest.raises(ConfigError, match="n_lags is 0"):
        lag_features(0)


def test_features_beside_each_other():
    task = make_task(60, 2)
    calendar = lambda task: task.x[2:].T  # noqa: E731
    both = beside(calendar, lag_features(3), scales=[2.0, 1.0])(task)
    np.testing.assert_array_equal(both[1][9], np.concatenate([2 * task.x[2:, 9], task.x[1, 7:10]]))
    plain = beside(calendar, lag_features(3, per_variable=False))(task)
    np.testing.assert_array_equal(plain[9], np.concatenate([task.x[2:, 9], task.x[0, 7:10], task.x[1, 7:10]]))
    with pytest.raises(ConfigError, match="no features"):
        beside()
    with pytest.raises(ConfigError, match="1 scales for 2"):
        beside(calendar, calendar, scales=[1.0])
    with pytest.raises(DataError, match=r"shape \(9, 60\)"):
        RidgeForecaster(lambda task: task.x).fit(task, 5)
    with pytest.raises(DataError, match="features of 3 variables for a task of 2"):
        RidgeForecaster(lambda task: PerVariable(3, lambda v: task.x.T)).fit(task, 5)


def test_embeddings_are_computed_once_for_all_horizons_and_forecasters():
    task = make_task(300)
    torch.manual_seed(0)
    encoder = CausalConvEncoder(8, dim=6, hidden=4, depth=2, trend_kernels=(1, 2)).eval()
    calls = []

    class Counting(torch.nn.Module):
        causal, receptive_field, dim = True, encoder.receptive_field, 6

        def forward(self, x, mask=None):
            calls.append(x.shape)
            return encoder(x, mask)

    features = embedding_features(Counting(), 20, method="one_pass")
    models = {
        "plain": RidgeForecaster(features, context=20),
        "beside": RidgeForecaster(beside(features, lag_features(5, centred=True)), centred=True, context=20),
    }
    results = evaluate_forecasts(models, task, [3, 6])
    once = len(calls)
    features(task)
    assert len(calls) == once
    expected = embed_series(encoder, task.x, context=20)
    np.testing.assert_allclose(features(task), expected, atol=1e-6)
    embed_series(Counting(), task.x, context=20)
    assert len(calls) == 2 * once
    features(make_task(300, 1))
    assert len(calls) == 3 * once
    assert results.table["mse"].notna().all()


@pytest.mark.parametrize("centred", [False, True])
def test_a_ridge_is_the_one_of_scikit_learn(centred):
    """The whole protocol again, with loops and a refit for every penalty."""
    task, context, horizon, lags = make_task(500, 2), 30, 7, 10
    x = task.x[:2].astype(np.float64)
    errors, alphas = [], []
    for v in range(2):
        X, Y = {}, {}
        for name, part in task.parts.by_name.items():
            first = part.start + (context if name == "train" else 0)
            steps = range(first, part.stop - horizon)
            base = [x[v, t] if centred else 0.0 for t in steps]
            X[name] = np.array([x[v, t - lags + 1 : t + 1] - b for t, b in zip(steps, base, strict=True)])
            Y[name] = np.array([x[v, t + 1 : t + 1 + horizon] - b for t, b in zip(steps, base, strict=True)])
        best = np.inf
        for alpha in (0.1, 1.0, 10.0, 100.0):
            ridge = Ridge(alpha=alpha).fit(X["train"], Y["train"])
            off = Y["val"] - ridge.predict(X["val"])
            if np.sqrt((off**2).mean()) + np.abs(off).mean() < best:
                best, chosen = np.sqrt((off**2).mean()) + np.abs(off).mean(), ridge
        errors.append(Y["test"] - chosen.predict(X["test"]))
        alphas.append(chosen.alpha)
    forecaster = RidgeForecaster(
        lag_features(lags, centred=centred), centred=centred, context=context, alphas=(0.1, 1.0, 10.0, 100.0)
    )
    results = evaluate_forecasts({"ridge": forecaster}, task, [horizon], seed=4)
    [row] = results.table.to_dict("records")
    assert row["mse"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
    assert row["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    assert row["alpha"] == np.median(alphas)
    assert (row["seed"], row["n_train"], row["left_out_train"]) == (4, 300 - 30 - 7, 0)
    assert (row["n_test"], row["left_out_test"]) == (100 - 7, 0)
    np.testing.assert_allclose(results.errors["ridge", 7, 4][0], np.mean(np.square(errors), axis=(0, 2)), rtol=1e-4)


def test_a_refit_takes_the_validation_part_in():
    task, horizon = make_task(300), 4
    once = RidgeForecaster(lag_features(6), context=10).fit(task, horizon)
    again = RidgeForecaster(lag_features(6), context=10, refit=True).fit(task, horizon)
    assert again.report["alpha"] == once.report["alpha"]
    assert (once.report["n_train"], again.report["n_train"]) == (180 - 10 - 4, 240 - 10 - 4)
    x = task.x[0].astype(np.float64)
    rows = range(10, 240 - horizon)
    ridge = Ridge(alpha=once.report["alpha"]).fit([x[t - 5 : t + 1] for t in rows], [x[t + 1 : t + 5] for t in rows])
    found = again.predict(task, np.array([250]))[0, :, 0]
    np.testing.assert_allclose(found, ridge.predict([x[245:251]])[0], rtol=1e-6)


def test_standardised_features_do_not_depend_on_their_units():
    task = make_task(300)
    large = lambda task: lag_features(5)(task) * np.array([1, 10, 100, 1000, 1e4])  # noqa: E731
    found = [
        RidgeForecaster(features, standardise=True, context=10).fit(task, 3).predict(task, np.array([290]))
        for features in (lag_features(5), large)
    ]
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        LastValue,
        SeasonalNaive,
        lambda: RidgeForecaster(lag_features(8, centred=True), centred=True, refit=True, context=10),
        lambda: RidgeForecaster(beside(lambda task: task.x.T, lag_features(8)), context=10),
    ],
)
def test_nothing_of_the_test_part_after_an_origin_reaches_its_forecast(make):
    task, origin = make_task(300, 2), np.array([250])
    before = make().fit(task, 4).predict(task, origin)
    task.x[:, 251:] = 100.0
    np.testing.assert_array_equal(make().fit(task, 4).predict(task, origin), before)


def test_last_value_and_last_season():
    task = make_task(120, 2, holes=[(1, 100, 102)])
    x = task.x[:2]
    last = LastValue().fit(task, 3).predict(task, np.array([90, 101]))
    assert last.shape == (2, 3, 2)
    np.testing.assert_array_equal(last[0], np.tile(x[:, 90], (3, 1)))
    np.testing.assert_array_equal(last[1], np.tile([x[0, 101], x[1, 99]], (3, 1)))
    day = SeasonalNaive().fit(task, 30).predict(task, np.array([99, 110]))
    np.testing.assert_array_equal(day[0, :24], x[:, 76:100].T)
    np.testing.assert_array_equal(day[0, 24:], x[:, 76:82].T)
    np.testing.assert_array_equal(day[1, 13], [x[0, 100], x[1, 76]])  # missing on the last day: the day before
    short = SeasonalNaive(season=2).fit(task, 3).predict(task, np.array([90]))
    np.testing.assert_array_equal(short[0], x[:, [89, 90, 89]].T)
    assert np.isnan(SeasonalNaive().fit(task, 30).predict(task, np.array([5]))[0, 0]).all()
    with pytest.raises(ConfigError, match="season is 0"):
        SeasonalNaive(0)


def test_missing_values_leave_origins_out_and_are_counted(caplog):
    task = make_task(400, 2, holes=[(0, 100, 103), (1, 350, 351)])
    models = {"lags": RidgeForecaster(lag_features(6), context=20), "last": LastValue()}
    with caplog.at_level("WARNING", logger="tscl.evaluation.forecasting.protocol"):
        results = evaluate_forecasts(models, task, [5])
    rows = results.table.set_index("model")
    assert rows["left_out_test"].tolist() == [
        11,
        11,
    ]  # 5 without targets (345 to 349), 6 that see the hole (350 to 355)
    assert rows["n_test"].tolist() == [64, 64]
    assert "11 of 75 origins" in caplog.text
    assert not set(range(345, 356)) & set(results.origins[5])
    assert rows.loc["lags", "left_out_train"] == 7 + 6  # targets miss from 95 to 101, features from 100 to 107
    assert rows.loc["lags", "n_train"] == 240 - 20 - 5 - 13
    assert rows["mse"].notna().all()
    centred = RidgeForecaster(lambda task: task.x[2:].T, centred=True, context=20).fit(task, 5)
    assert centred.report["left_out_train"] == 5 + 3
    assert np.isnan(centred.predict(task, np.array([350]))[0, :, 1]).all()


def test_all_models_are_scored_on_the_same_origins():
    task = make_task(400)
    models = {"one": Constant(0.5), "other": Constant(0.0, unknown=[330, 331])}
    results = evaluate_forecasts(models, task, [5, 10], keep=2)
    assert results.table["n_test"].tolist() == [73, 73, 68, 68]
    assert results.table["alpha"].tolist() == [3.0] * 4
    origins = [t for t in range(320, 395) if t not in (330, 331)]
    truth = np.array([task.x[0, t + 1 : t + 6] for t in origins], dtype=np.float64)
    assert results.table["mse"][0] == pytest.approx(((truth - 0.5) ** 2).mean())
    assert results.table["mae"][1] == pytest.approx(np.abs(truth).mean())
    assert results.kept[10].tolist() == [320, 389]
    assert results.forecasts["one", 10, 0].shape == (2, 10, 1)


def test_forecasting_in_chunks_changes_nothing(monkeypatch):
    task = make_task(400, 2)
    models = {"lags": RidgeForecaster(lag_features(6), context=20)}
    whole = evaluate_forecasts(models, task)
    monkeypatch.setattr(protocol, "CELLS", 70)
    np.testing.assert_allclose(evaluate_forecasts(models, task).errors["lags", 5, 0], whole.errors["lags", 5, 0])


def test_what_cannot_be_judged_is_refused():
    task = make_task(400)
    for models, horizons, said in [
        ({}, [5], "nothing to judge"),
        ({"last": LastValue()}, [], "nothing to judge"),
        ({"last": LastValue()}, [80], "use 1 to 79"),
        ({"last": LastValue()}, [0], "use 1 to 79"),
    ]:
        with pytest.raises(ConfigError, match=said):
            evaluate_forecasts(models, task, horizons)
    with pytest.raises(DataError, match="no origin of the test part"):
        evaluate_forecasts({"none": Constant(np.nan)}, task)
    with pytest.raises(DataError, match="no origin of the test part"):
        evaluate_forecasts({"last": LastValue()}, make_task(400, holes=[(0, 320, 399)]))
    with pytest.raises(DataError, match="none of 0 origins in the training part"):
        RidgeForecaster(lag_features(5), context=300).fit(task, 5)
    with pytest.raises(DataError, match="none of 75 origins in the validation part"):
        RidgeForecaster(lag_features(5), context=20).fit(make_task(400, holes=[(0, 240, 320)]), 5)


def judged(values, seed=0, task=None):
    models = {name: Constant(value) for name, value in values.items()}
    return evaluate_forecasts(models, task or make_task(400, horizons=(5, 10)), seed=seed)


def test_seeds_are_joined_into_means_and_deviations(tmp_path):
    parts = [judged({"a": value, "b": 0.0}, seed) for seed, value in enumerate([0.0, 0.3, 0.6])]
    results = ForecastResults.join(parts)
    summary = results.summary()
    assert summary["model"].tolist() == ["a"] * 3 + ["b"] * 3
    assert summary["horizon"].tolist() == [5, 10, "mean"] * 2
    for number, horizon in enumerate((5, 10)):
        values = [part.table.query(f"model == 'a' and horizon == {horizon}")["mse"].item() for part in parts]
        assert summary["mse"][number] == pytest.approx(np.mean(values))
        assert summary["mse_sd"][number] == pytest.approx(np.std(values, ddof=1))
    means = [part.table.query("model == 'a'")["mae"].mean() for part in parts]
    assert summary["mae"][2] == pytest.approx(np.mean(means))
    assert summary["mae_sd"][2] == pytest.approx(np.std(means, ddof=1))
    assert (summary["seeds"] == 3).all()
    assert summary.loc[3:, "mse_sd"].tolist() == pytest.approx([0, 0, 0], abs=1e-12)

    lines = results.to_markdown().splitlines()
    assert lines[0] == "| model | 5 | 10 | mean |"
    row = summary.iloc[2]
    assert lines[2].endswith(f"{row.mse:.3f} ± {row.mse_sd:.3f} / {row.mae:.3f} ± {row.mae_sd:.3f} |")
    single = parts[0].to_markdown(metrics=("mae",), digits=2).splitlines()
    assert single[2] == f"| a | {' | '.join(f'{one:.2f}' for one in parts[0].summary()['mae'][:3])} |"
    written = pd.read_csv(results.to_csv(tmp_path / "forecasts.csv"))
    pd.testing.assert_frame_equal(written, results.table)

    with pytest.raises(DataError, match="a was judged twice 5 steps ahead with seed 0"):
        ForecastResults.join([parts[0], parts[0]])
    with pytest.raises(DataError, match="different origins"):
        ForecastResults.join([parts[0], judged({"c": 1.0}, task=make_task(500, horizons=(5, 10)))])


def test_intervals_are_those_of_moving_blocks():
    results = judged({"a": 0.0, "b": 0.4})
    table = results.intervals(n_resamples=300, block=7, seed=3)
    assert table[["model", "horizon", "metric"]].to_numpy().tolist()[:3] == [
        ["a", 5, "mse"],
        ["a", 5, "mae"],
        ["b", 5, "mse"],
    ]
    errors = results.errors["b", 5, 0][0]
    starts = np.random.default_rng(3).integers(75 - 7 + 1, size=(300, 11))
    means = [np.concatenate([errors[start : start + 7] for start in row]).mean() for row in starts]
    row = table.iloc[2]
    assert row["value"] == pytest.approx(errors.mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    difference = results.intervals("a", n_resamples=50)
    assert difference.query("model == 'a'")[["value", "low", "high"]].eq(0).all(axis=None)
    gap = results.errors["b", 10, 0][1].mean() - results.errors["a", 10, 0][1].mean()
    assert difference.query("model == 'b' and horizon == 10 and metric == 'mae'")["value"].item() == pytest.approx(gap)
    for options, said in [
        ({"reference": "c"}, "no model 'c'"),
        ({"block": 0}, "block is 0"),
        ({"level": 2}, "level of an interval is 2"),
    ]:
        with pytest.raises(ConfigError, match=said):
            results.intervals(**options)


def test_etth1_gives_the_known_numbers(shared_data):
    """Ridge on 200 lags, a day ahead, as scikit-learn's Ridge fitted anew for every penalty gives it."""
    task = load_task(shared_data / "ett" / "ETTh1.csv")
    models = {
        "raw": RidgeForecaster(lag_features(200)),
        "centred": RidgeForecaster(lag_features(200, centred=True), centred=True),
    }
    rows = evaluate_forecasts(models, task, [24]).table.set_index("model")
    assert rows["n_test"].tolist() == [2856, 2856]
    assert rows["alpha"].tolist() == [20.0, 100.0]
    assert rows.loc["raw", ["mse", "mae"]].astype(float).round(4).tolist() == [0.0270, 0.1239]
    assert rows.loc["centred", ["mse", "mae"]].astype(float).round(4).tolist() == [0.0262, 0.1233]
