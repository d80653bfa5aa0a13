import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import SeriesDataModule, level_differences, load_task
from tscl.errors import ConfigError


def frame(n=200):
    rng = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=n, freq="1h")
    return pd.DataFrame({"load": rng.normal(size=n).cumsum(), "wind": rng.normal(size=n)}, index=times)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(2, 12), max_size=3), st.integers(0, 5))
def test_differences_are_those_from_a_trailing_mean(n, spans, missing):
    rng = np.random.default_rng(n)
    values = rng.normal(size=(2, n))
    values[0, rng.integers(0, n, missing)] = np.nan
    expected = [pd.Series(row).rolling(span, min_periods=1).mean() for span in spans for row in values]
    found = level_differences(values, spans)
    assert found.shape == (2 * len(spans), n)
    for row, value, mean in zip(found, list(values) * len(spans), expected, strict=True):
        np.testing.assert_allclose(row, value - mean, atol=1e-12)


def test_nothing_of_the_future_is_in_them():
    values = np.random.default_rng(0).normal(size=(1, 50))
    changed = values.copy()
    changed[:, 30:] += 100
    np.testing.assert_array_equal(level_differences(values, [5])[:, :30], level_differences(changed, [5])[:, :30])


def test_the_task_has_them_between_variables_and_calendar():
    data = frame()
    task = load_task(data, multivariate=True, horizons=[5], spans=[4, 24])
    assert task.x.shape == (2 + 4 + 7, 200)
    assert task.channel_names[:6] == (
        "load",
        "wind",
        "load - mean of 4",
        "wind - mean of 4",
        "load - mean of 24",
        "wind - mean of 24",
    )
    train = task.x[2:6, task.parts.train]
    np.testing.assert_allclose(train.std(axis=1), 1, rtol=1e-5)
    raw = level_differences(task.x[:2].astype(float), [4, 24])
    np.testing.assert_allclose(np.corrcoef(raw[3], task.x[5])[0, 1], 1)
    plain = load_task(data, multivariate=True, horizons=[5])
    np.testing.assert_array_equal(plain.x, task.x[[0, 1, *range(6, 13)]])


def test_the_module_says_them_in_its_manifest(tmp_path):
    frame().rename_axis("date").to_csv(tmp_path / "a.csv")
    module = SeriesDataModule(str(tmp_path / "a.csv"), target="load", horizons=[5], spans=[4], window=20)
    module.setup()
    assert module.n_channels == 9
    assert module.split.manifest["spans"] == [4]


def test_a_span_of_one_step_is_refused():
    with pytest.raises(ConfigError, match=r"\[4, 1\]: each must be 2 steps or more"):
        load_task(frame(), target="load", horizons=[5], spans=[4, 1])
