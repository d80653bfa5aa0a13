import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import read_series
from tscl.errors import DataError

HOURS = pd.date_range("2016-07-01", periods=8, freq="1h")
FRAME = pd.DataFrame({"a": np.arange(8.0) ** 2, "b": [0, 0, 1, 1, 0, 0, 1, 0]}, index=HOURS)


def test_missing_rows_are_inserted_and_said(caplog):
    holes = FRAME.drop(HOURS[[2, 3, 6]])
    as_nan = read_series(holes, columns=["a"], label="b", regularise="nan")
    assert as_nan.times.equals(HOURS)
    np.testing.assert_array_equal(as_nan.values, [[0, 1, np.nan, np.nan, 16, 25, np.nan, 49]])
    assert as_nan.labels is not None
    assert as_nan.labels.tolist() == [False] * 8
    assert "3 missing steps of 1h were inserted as NaN, between 2016-07-01 02:00:00 and 2016-07-01 06" in caplog.text
    line = read_series(holes, columns=["a"], regularise="interpolate")
    np.testing.assert_allclose(line.values, [[0, 1, 6, 11, 16, 25, 37, 49]], rtol=1e-12)


def test_interpolation_leaves_what_the_file_itself_misses():
    holes = FRAME.assign(a=FRAME["a"].where(FRAME.index != HOURS[4])).drop(HOURS[[3]])
    values = read_series(holes, columns=["a"], regularise="interpolate").values[0]
    np.testing.assert_allclose(values, [0, 1, 4, 4 + 21 / 3, np.nan, 25, 36, 49])


def test_rows_are_sorted_and_identical_ones_taken_once(caplog):
    shuffled = pd.concat([FRAME.iloc[[5, 0, 7, 2, 1, 6, 3, 4]], FRAME.iloc[[2, 2]]])
    series = read_series(shuffled, label="b", regularise="nan")
    np.testing.assert_array_equal(series.values, [FRAME["a"]])
    assert series.labels is not None
    assert series.labels.tolist() == FRAME["b"].astype(bool).tolist()
    assert "the rows were sorted; 2 identical rows were dropped." in caplog.text


def test_a_regular_series_stays_as_it_is_and_nothing_is_said(caplog):
    assert read_series(FRAME, regularise="nan").times.equals(HOURS)
    assert not caplog.records


def test_what_cannot_be_mended():
    with pytest.raises(DataError, match="2016-07-01 02:00:00 stands in row 2 and again in row 8: the rows differ"):
        read_series(pd.concat([FRAME, FRAME.iloc[[2]] + 1]), regularise="nan")
    between = FRAME.set_axis([*HOURS[:5], HOURS[5] + pd.Timedelta("7min"), *HOURS[6:]])
    with pytest.raises(DataError, match=r"1 stamps lie between .* 05:07:00 in row 5: .*resample\('1h'\)"):
        read_series(between, regularise="interpolate")
    far = FRAME.set_axis([*HOURS[:7], pd.Timestamp("2061-07-01")])
    with pytest.raises(DataError, match="steps of 1h are missing beside 8 rows, most of them before 2061-07-01"):
        read_series(far, regularise="nan")
    with pytest.raises(DataError, match="has one stamp only"):
        read_series(FRAME.iloc[[1, 1]], regularise="nan")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_order_and_any_holes_give_the_same_series(data):
    n = data.draw(st.integers(6, 30))
    step = data.draw(st.sampled_from(["1min", "15min", "1h", "1D", "7D"]))
    times = pd.date_range("2019-12-30", periods=n, freq=step)
    frame = pd.DataFrame({"a": np.arange(n) * 0.5}, index=times)
    gone = data.draw(st.sets(st.integers(2, n - 2), max_size=n // 4))
    order = data.draw(st.permutations([i for i in range(n) if i not in gone]))
    read = read_series(frame.iloc[order], regularise="interpolate")
    assert read.times.equals(times)
    assert read.step == pd.Timedelta(step)
    np.testing.assert_allclose(read.values[0], frame["a"])
    holes = read_series(frame.iloc[order], regularise="nan").values[0]
    assert set(np.flatnonzero(np.isnan(holes))) == gone
