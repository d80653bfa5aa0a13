import numpy as np
import pandas as pd
import pytest

from tscl.errors import DataError
from tscl.plotting import alarms_over_time


@pytest.fixture
def scores():
    scores = np.linspace(0, 1, 50)
    scores[20] = np.nan
    scores[30] = np.inf
    return scores


def test_alarms_over_time(scores):
    alarms = np.zeros(50, dtype=bool)
    alarms[[30, 40]] = True
    labels = np.zeros(50, dtype=bool)
    labels[38:42] = True
    times = pd.date_range("2020-01-01", periods=50, freq="1h")
    ax = alarms_over_time(scores, alarms, labels, times, threshold=0.5)
    line, limit, dots = ax.lines
    assert np.flatnonzero(~np.isfinite(line.get_ydata())).tolist() == [20, 30]
    assert limit.get_ydata()[0] == 0.5
    np.testing.assert_allclose(dots.get_ydata(), [1.0, scores[40]])
    np.testing.assert_array_equal(dots.get_xdata(), times[[30, 40]])
    [shade] = ax.collections
    corners = shade.get_paths()[0].vertices[:, 0]
    day = pd.Timedelta("1D")
    start = pd.Timestamp("1970-01-01")
    assert corners.min() == pytest.approx((times[38] - start) / day)
    assert corners.max() == pytest.approx((times[42] - start) / day)
    assert ax.get_xlabel() == "time"
    plain = alarms_over_time(scores, alarms)
    assert len(plain.lines) == 2
    assert len(plain.collections) == 0
    assert plain.get_xlabel() == "step"


def test_unusable_scores(scores):
    with pytest.raises(DataError, match=r"\(50,\), \(49,\)"):
        alarms_over_time(scores, np.zeros(49, dtype=bool))
    with pytest.raises(DataError, match="none of the 3 scores is finite"):
        alarms_over_time(np.full(3, np.nan), np.zeros(3, dtype=bool))
