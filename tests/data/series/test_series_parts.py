import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import CALENDAR, Parts, calendar_features, parts_of
from tscl.errors import ConfigError, DataError

HOUR = pd.Timedelta("1h")


@pytest.mark.parametrize(("step", "times"), [("1h", 1), ("15min", 4), ("30min", 2), ("1D", 1 / 24)])
def test_the_parts_of_ett(step, times):
    sizes = [round(n * times) for n in (8640, 2880, 2880)]
    parts = parts_of(sum(sizes) + 77, pd.Timedelta(step), "ett")
    assert parts == Parts(
        slice(0, sizes[0]), slice(sizes[0], sizes[0] + sizes[1]), slice(sizes[0] + sizes[1], sum(sizes))
    )
    assert list(parts.sizes.values()) == sizes
    assert list(parts.by_name) == ["train", "val", "test"]


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40000), st.integers(1, 98), st.integers(1, 98))
def test_shares_cover_everything_in_order(n, first, second):
    third = 100 - first - second
    scheme = f"{first}/{second}/{third}"
    if third < 1:
        with pytest.raises(ConfigError, match="sum to 100"):
            parts_of(n, HOUR, scheme)
        return
    cuts = [n * first // 100, n * (first + second) // 100]
    if not 0 < cuts[0] < cuts[1] < n:
        with pytest.raises(DataError, match="too few"):
            parts_of(n, HOUR, scheme)
        return
    parts = parts_of(n, HOUR, scheme)
    steps = np.arange(n)
    pieces = [steps[part] for part in parts.by_name.values()]
    np.testing.assert_array_equal(np.concatenate(pieces), steps)
    assert [len(piece) for piece in pieces] == list(parts.sizes.values()) == [cuts[0], cuts[1] - cuts[0], n - cuts[1]]


def test_the_parts_of_weather():
    assert list(parts_of(35064, HOUR).sizes.values()) == [21038, 7013, 7013]


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("halves", "'halves' is no scheme of parts: use 'ett', or three shares"),
        ("60/40", "is no scheme"),
        ("a/b/c", "is no scheme"),
        ("60/20/10", "sum to 90"),
        ("0.6/0.2/0.2", "sum to 1:"),
        ("120/-40/20", "three shares above 0"),
    ],
)
def test_schemes_that_are_none(scheme, said):
    with pytest.raises(ConfigError, match=said):
        parts_of(1000, HOUR, scheme)


def test_series_that_do_not_fit_the_scheme():
    with pytest.raises(DataError, match=r"14400 steps of 1h \(20 months of 30 days\), the series has 14399"):
        parts_of(14399, HOUR, "ett")
    with pytest.raises(DataError, match="57600 steps of 15min"):
        parts_of(17420, pd.Timedelta("15min"), "ett")
    for step in ("7h", "2D"):
        with pytest.raises(DataError, match=f"divides a day, the series has steps of {step}"):
            parts_of(10**6, pd.Timedelta(step), "ett")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2060-12-31")), min_size=1, max_size=5))
def test_the_calendar_against_the_standard_library(moments):
    features = calendar_features(pd.DatetimeIndex(moments))
    assert features.shape == (len(CALENDAR), len(moments)) == (7, len(moments))
    assert features.dtype == np.float64
    for column, one in zip(features.T, moments, strict=True):
        day = one.timetuple().tm_yday
        expected = [one.minute, one.hour, one.weekday(), one.day, day, one.month, one.isocalendar()[1]]
        assert column.tolist() == expected
