import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from tscl.data import load_task
from tscl.encoders import CausalConvEncoder, DilatedConvEncoder
from tscl.errors import ConfigError, DataError
from tscl.evaluation import (
    AnomalyResults,
    adjusted_scores,
    anomaly_scores,
    delay_tolerant_metrics,
    delay_tolerant_scores,
    detect,
    difference_scores,
    evaluate_anomalies,
    ridge_residual_scores,
    spectral_residual_scores,
)

few = settings(max_examples=60, deadline=None)
some_scores = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.one_of(st.floats(0, 100).map(lambda v: round(v, 3)), st.just(np.nan))
)
some_bools = hnp.arrays(bool, st.shared(st.integers(1, 40), key="length"))


def slow_adjusted(scores, window):
    out = np.full(len(scores), np.nan)
    for t in range(len(scores)):
        known = [scores[s] for s in range(max(0, t - window), t) if not np.isnan(scores[s])]
        if np.isnan(scores[t]) or 2 * len(known) < window:
            continue
        local = sum(known) / len(known)
        out[t] = scores[t] / local - 1 if local > 0 else np.inf if scores[t] > 0 else 0.0
    return out


def slow_detect(scores, history, window, beta, refractory):
    adjusted = slow_adjusted(scores, window)
    known = [value for value in adjusted[history] if np.isfinite(value)]
    mu = sum(known) / len(known)
    sigma = (sum((value - mu) ** 2 for value in known) / len(known)) ** 0.5
    alarms, last = np.zeros(len(scores), dtype=bool), None
    for t, value in enumerate(adjusted):
        if value > mu + beta * sigma and (last is None or t - last > refractory):
            alarms[t], last = True, t
    return alarms


def slow_tolerant(labels, alarms, delay):
    found = alarms.copy()
    t = 0
    while t < len(labels):
        if labels[t]:
            stop = t
            while stop < len(labels) and labels[stop]:
                stop += 1
            found[t:stop] = alarms[t : min(t + delay + 1, stop)].any()
            t = stop
        else:
            t += 1
    return found


def slow_anomaly_scores(encoder, x, context):
    if not getattr(encoder, "causal", False):
        padded = np.pad(x, ((0, 0), (context, 0)), constant_values=np.nan)
        return slow_windows(encoder, [padded[:, t : t + context + 1] for t in range(x.shape[1])])
    return slow_windows(encoder, [x[:, max(0, t - context) : t + 1] for t in range(x.shape[1])])


def slow_windows(encoder, windows):
    out = []
    with torch.no_grad():
        for one in windows:
            window = torch.tensor(one[None], dtype=torch.float32)
            keep = torch.ones(1, window.shape[2], dtype=torch.bool)
            seen = encoder(window, keep)[0, :, -1]
            keep[0, -1] = False
            out.append(float((seen - encoder(window, keep)[0, :, -1]).abs().sum()))
    return np.array(out)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)


class Deaf(nn.Module):
    """An encoder that takes a mask and does nothing with it."""

    dim = 1

    def forward(self, x, mask=None):
        return x.nan_to_num()


def dilated(channels=2):
    torch.manual_seed(0)
    return DilatedConvEncoder(channels, dim=6, hidden=5, depth=2).eval()


def causal(channels=2):
    torch.manual_seed(0)
    return CausalConvEncoder(channels, dim=6, hidden=5, depth=2, trend_kernels=(1, 2)).eval()


def frame(n=600, at=(420, 500, 560), length=5, seed=0):
    values = np.sin(np.arange(n) / 7) + 0.1 * np.random.default_rng(seed).normal(size=n)
    labels = np.zeros(n, dtype=int)
    for start in at:
        values[start : start + length] += 3
        labels[start : start + length] = 1
    times = pd.date_range("2020-01-01", periods=n, freq="1min")
    return pd.DataFrame({"date": times, "load": values, "anomaly": labels})


def task_of(table, **options):
    return load_task(table, target="load", label="anomaly", horizons=[1], covariates=False, **options)


def test_the_scores_are_those_of_one_window_after_the_other(x):
    encoder = dilated()
    np.testing.assert_allclose(anomaly_scores(encoder, x, context=12), slow_anomaly_scores(encoder, x, 12), atol=1e-5)
    encoder = causal()
    reach = encoder.receptive_field - 1
    expected = slow_anomaly_scores(encoder, x, reach)
    np.testing.assert_allclose(anomaly_scores(encoder, x, context=reach, method="sliding"), expected, atol=1e-4)
    np.testing.assert_allclose(anomaly_scores(encoder, x, context=reach), expected, atol=1e-4)


def test_a_score_does_not_know_the_future_and_sees_its_own_step(x):
    for encoder in (dilated(), causal()):
        before = anomaly_scores(encoder, x, context=12)
        changed = x.copy()
        changed[:, 30] += 5
        after = anomaly_scores(encoder, changed, context=12)
        np.testing.assert_allclose(after[:30], before[:30], atol=1e-5)
        assert abs(after[30] - before[30]) > 1e-3


def test_a_step_that_the_encoder_cannot_see_has_no_score(x):
    gaps = x.copy()
    gaps[0, 20:23] = np.nan
    gaps[:, 30] = np.nan
    for encoder in (dilated(), causal()):
        missing = np.isnan(anomaly_scores(encoder, gaps, context=12))
        assert np.flatnonzero(missing).tolist() == [20, 21, 22, 30]
    dead = x.copy()
    dead[1] = np.nan
    assert not np.isnan(anomaly_scores(dilated(), dead, context=12)).any()
    assert np.isnan(anomaly_scores(dilated(), dead[::-1].copy(), context=12, n_variables=1)).all()
    long = x.copy()
    long[0, 20:40] = np.nan
    scored = ~np.isnan(anomaly_scores(dilated(), long, context=12))
    assert np.flatnonzero(~scored).tolist() == list(range(20, 32))


def test_unusable_series(x):
    with pytest.raises(DataError, match="expected \\(channels, times\\)"):
        anomaly_scores(dilated(), x[0])
    with pytest.raises(DataError, match="50 steps, not more than the context of 50"):
        anomaly_scores(dilated(), x, context=50)


@few
@given(some_scores, st.integers(1, 12))
def test_adjusted_scores(scores, window):
    np.testing.assert_allclose(adjusted_scores(scores, window), slow_adjusted(scores, window), rtol=1e-9, atol=1e-9)


def test_adjusted_scores_at_the_edges():
    assert adjusted_scores(np.array([1.0, np.nan, 2.0]), 0)[[0, 2]].tolist() == [1, 2]
    flat = adjusted_scores(np.array([0.0, 0.0, 0.0, 5.0, 0.0]), 2)
    assert flat[1:].tolist() == [0, 0, np.inf, -1]
    with pytest.raises(ConfigError, match="window is -1"):
        adjusted_scores(np.ones(3), -1)
    with pytest.raises(DataError, match="expected \\(times,\\)"):
        adjusted_scores(np.ones((3, 2)))


@few
@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 6))
def test_detect(seed, window, beta, refractory):
    rng = np.random.default_rng(seed)
    scores = rng.exponential(size=60)
    scores[rng.random(60) < 0.1] = np.nan
    scores[:window] = 1.0
    history = slice(0, 30)
    options = {"window": window, "beta": beta, "refractory": refractory}
    found = detect(scores, history, **options)
    assert found.tolist() == slow_detect(scores, history, **options).tolist()
    assert not found[np.isnan(scores)].any()
    kept = np.flatnonzero(found)
    assert (np.diff(kept) > refractory).all()
    assert np.flatnonzero(detect(scores, history, window=window, beta=beta))[:1].tolist() == kept[:1].tolist()


def test_detect_refuses():
    with pytest.raises(DataError, match="no step of the history \\(0 to 5\\)"):
        detect(np.ones(40), slice(0, 5))
    with pytest.raises(ConfigError, match="refractory is -2"):
        detect(np.ones(40), slice(0, 30), refractory=-2)
    jump = np.concatenate([np.zeros(10), [1.0], np.zeros(10)])
    assert np.flatnonzero(detect(jump, slice(0, 10), window=5)).tolist() == [10]


@few
@given(some_bools, some_bools, st.integers(0, 6))
def test_delay_tolerance(labels, alarms, delay):
    expected = slow_tolerant(labels, alarms, delay)
    assert delay_tolerant_scores(labels, alarms, delay).tolist() == expected.tolist()
    values = np.where(alarms, 3.0, np.linspace(0, 1, len(alarms)))
    assert (delay_tolerant_scores(labels, values, delay) > 2).tolist() == expected.tolist()
    if labels.all() or not labels.any():
        with pytest.raises(DataError, match="steps of both kinds"):
            delay_tolerant_metrics(labels, alarms, delay)
        return
    from sklearn.metrics import precision_recall_fscore_support

    numbers = delay_tolerant_metrics(labels, alarms, delay)
    wanted = precision_recall_fscore_support(labels, expected, average="binary", zero_division=0)[:3]
    np.testing.assert_allclose([numbers[name] for name in ("precision", "recall", "f1")], wanted)
    starts = [t for t in range(len(labels)) if labels[t] and (t == 0 or not labels[t - 1])]
    assert numbers["segments"] == len(starts)
    assert numbers["detected"] == sum(expected[t] for t in starts)
    assert numbers["false_alarms"] == sum(alarms & ~labels)


def test_delay_tolerance_by_hand():
    labels = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 1], dtype=bool)
    late = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0], dtype=bool)
    assert delay_tolerant_scores(labels, late, 1).tolist() == [False] * 6 + [True] * 2 + [False] * 2
    assert delay_tolerant_metrics(labels, late, 1) == {
        "precision": 1.0,
        "recall": 1 / 3,
        "f1": 0.5,
        "segments": 3.0,
        "detected": 1.0,
        "false_alarms": 0.0,
    }
    after = np.array([0, 1, 0, 0], dtype=bool)
    assert delay_tolerant_metrics(np.array([1, 0, 0, 0], dtype=bool), after, 3)["detected"] == 0
    with pytest.raises(DataError, match="labels have shape \\(10,\\) and alarms \\(9,\\)"):
        delay_tolerant_metrics(labels, late[:9], 1)
    with pytest.raises(ConfigError, match="delay is -1"):
        delay_tolerant_metrics(labels, late, -1)
    with pytest.raises(DataError, match="2 scores are NaN"):
        delay_tolerant_scores(labels, np.where(late, np.nan, 0.0), 1)


def test_difference_scores():
    table = frame()
    table.loc[100, "load"] = np.nan
    task = task_of(table)
    jumps = np.abs(np.diff(table["load"].to_numpy())) / task.scale[0]
    found = difference_scores(task)
    assert np.flatnonzero(np.isnan(found)).tolist() == [0, 100, 101]
    np.testing.assert_allclose(found[1:], jumps, atol=1e-5)


def test_ridge_residual_scores_are_those_of_sklearn():
    from sklearn.linear_model import Ridge

    table = frame().assign(other=np.cos(np.arange(600) / 3))
    table.loc[100, "load"] = np.nan
    task = load_task(table, multivariate=True, label="anomaly", horizons=[1])
    x = task.x[:2].astype(float)
    rows = [t for t in range(4, 600) if not np.isnan(x[:, t - 4 : t]).any()]
    lags = np.array([x[:, t - 4 : t].ravel() for t in rows])
    train = [i for i, t in enumerate(rows) if t < 360 and not np.isnan(x[:, t]).any()]
    model = Ridge(alpha=2.0).fit(lags[train], x[:, np.array(rows)[train]].T)
    expected = np.full(600, np.nan)
    expected[rows] = np.nanmean(np.abs(x[:, rows] - model.predict(lags).T), axis=0)
    np.testing.assert_allclose(ridge_residual_scores(task, n_lags=4, alpha=2.0), expected, atol=1e-8)
    with pytest.raises(ConfigError, match="n_lags is 0"):
        ridge_residual_scores(task, n_lags=0)
    with pytest.raises(DataError, match="600 steps, not more than the 600 lags"):
        ridge_residual_scores(task, n_lags=600)
    with pytest.raises(DataError, match="401 steps in a row without a gap"):
        ridge_residual_scores(task, n_lags=400)


@pytest.mark.parametrize("smooth", [1, 2, 3, 4])
def test_spectral_residual_scores(smooth):
    task = task_of(frame())
    x = task.x[0].astype(float)
    found = spectral_residual_scores(task, window=16, smooth=smooth)
    assert np.isnan(found[:15]).all()
    for t in (15, 100, 599):
        spectrum = np.fft.fft(x[t - 15 : t + 1])
        logarithm = np.log(np.abs(spectrum) + 1e-8)
        mean = [np.mean([logarithm[(k + o - smooth // 2) % 16] for o in range(smooth)]) for k in range(16)]
        back = np.fft.ifft(np.exp(logarithm - np.array(mean)) * np.exp(1j * np.angle(spectrum)))
        assert found[t] == pytest.approx(abs(back[-1]), rel=1e-6)
    with pytest.raises(ConfigError, match="smooth is 5 and window 4"):
        spectral_residual_scores(task, window=4, smooth=5)
    with pytest.raises(DataError, match="600 steps, fewer than the window of 601"):
        spectral_residual_scores(task, window=601)


def test_evaluate_anomalies_finds_what_a_ridge_can_find(tmp_path):
    task = task_of(frame())
    oracle = task.series.labels.astype(float)
    models = {
        "encoder": dilated(1),
        "ridge": ridge_residual_scores,
        "oracle": lambda _: oracle,
        "nothing": lambda _: np.full(600, np.nan),
    }
    with pytest.raises(DataError, match="no step of the history"):
        evaluate_anomalies(models, task, context=30)
    del models["nothing"]
    results = evaluate_anomalies(models, task, context=30, window=10, part="test")
    assert isinstance(results, AnomalyResults)
    assert results.delay == 7
    table = results.table.set_index("model")
    assert table.index.tolist() == ["encoder", "ridge", "oracle"]
    assert table.loc["ridge", "f1"] == 1
    assert table.loc["ridge", "detected"] == table.loc["ridge", "segments"] == 2
    assert table.loc["ridge", "tolerant_auprc"] == 1 > table.loc["ridge", "auprc"]
    raw = evaluate_anomalies({"oracle": lambda _: oracle}, task, window=0).table.iloc[0]
    assert raw[["auprc", "point_f1", "f1"]].tolist() == [1, 1, 1]
    assert results.labels.tolist() == task.series.labels[480:].tolist()
    assert len(results.times) == len(results.scores["encoder"]) == len(results.alarms["encoder"]) == 120
    lines = results.to_markdown().splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {9}
    assert "2 of 2" in lines[3]
    read = pd.read_csv(results.to_csv(tmp_path / "anomalies.csv"))
    np.testing.assert_allclose(read["f1"], results.table["f1"])


def test_the_numbers_of_the_encoder_are_those_of_the_parts_of_the_protocol():
    task = task_of(frame())
    encoder = dilated(1)
    scores = anomaly_scores(encoder, task.x, context=30)
    alarms = detect(scores, task.parts.train, beta=2.0, refractory=3)[task.parts.test]
    found = evaluate_anomalies({"encoder": encoder}, task, context=30, beta=2.0, delay=3)
    assert found.alarms["encoder"].tolist() == alarms.tolist()
    row = found.table.iloc[0]
    expected = delay_tolerant_metrics(found.labels, alarms, 3)
    assert row[list(expected)].astype(float).to_dict() == expected
    hourly = frame().assign(date=pd.date_range("2020-01-01", periods=600, freq="1h"))
    assert evaluate_anomalies({"d": difference_scores}, task_of(hourly)).delay == 3


def test_gaps_are_no_alarms():
    table = frame()
    table.loc[485:495, "load"] = np.nan
    task = task_of(table)
    results = evaluate_anomalies({"encoder": dilated(1), "ridge": ridge_residual_scores}, task, context=30, beta=-10.0)
    gap = slice(485 - 480, 496 - 480)
    for name in ("encoder", "ridge"):
        assert np.isnan(results.scores[name][gap]).all()
        assert not results.alarms[name][gap].any()
        assert results.alarms[name].any()


@pytest.mark.parametrize(("value", "said"), [(0, "labelled normal"), (1, "labelled anomalies")])
def test_labels_of_one_kind(value, said, caplog):
    task = task_of(frame().assign(anomaly=value))
    with caplog.at_level(logging.WARNING, logger="tscl"):
        results = evaluate_anomalies({"ridge": ridge_residual_scores}, task)
    assert said in caplog.text
    row = results.table.iloc[0]
    assert row[["f1", "auprc", "point_f1", "precision", "detected"]].isna().all()
    assert row["alarms"] == results.alarms["ridge"].sum() > 0
    assert "| ridge | - |" in results.to_markdown()


def test_what_cannot_be_evaluated():
    with pytest.raises(DataError, match="no labels: name the column"):
        evaluate_anomalies({"d": difference_scores}, load_task(frame(), target="load", horizons=[1]))
    task = task_of(frame())
    with pytest.raises(ConfigError, match="no model"):
        evaluate_anomalies({}, task)
    with pytest.raises(ConfigError, match="part is 'train'"):
        evaluate_anomalies({"d": difference_scores}, task, part="train")
    with pytest.raises(DataError, match="d returned scores of shape \\(3,\\)"):
        evaluate_anomalies({"d": lambda _: np.ones(3)}, task)
    with pytest.raises(DataError, match="not more than the context of 700"):
        evaluate_anomalies({"e": dilated(1)}, task, context=700)
    with pytest.raises(ConfigError, match="Deaf gives the same embedding with and without"):
        evaluate_anomalies({"e": Deaf()}, task, context=30)
