import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from tscl.errors import DataError
from tscl.plotting import forecast_plot


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def lines(ax):
    return {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in ax.lines}


def test_truth_and_forecasts_stand_at_their_steps():
    truth = np.arange(100.0)
    truth[52] = np.nan
    ax = plt.subplots()[1]
    assert (
        forecast_plot(truth, {"a": np.full(10, 7.0), "b": np.arange(4)}, 50, past=20, ylabel="load (MW)", ax=ax) is ax
    )
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["measured"][0], np.arange(-20, 11))
    np.testing.assert_array_equal(drawn["measured"][1], truth[30:61])
    np.testing.assert_array_equal(drawn["a"][0], np.arange(1, 11))
    np.testing.assert_array_equal(drawn["b"], [np.arange(1, 5), np.arange(4)])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", "a", "b"]
    assert ax.get_ylabel() == "load (MW)"
    assert len({line.get_color() for line in ax.lines[:3]}) == 3


@pytest.mark.parametrize("dated", [False, True])
def test_a_forecast_goes_beyond_the_end_of_the_series(dated):
    times = pd.date_range("2020-01-01", periods=30, freq="1h") if dated else None
    drawn = lines(forecast_plot(np.ones(30), {"a": np.zeros(6)}, 29, times=times))
    assert len(drawn["measured"][0]) == len(drawn["measured"][1]) == 7
    assert len(drawn["a"][0]) == 6
    if dated:
        assert drawn["measured"][0][-1] == np.datetime64("2020-01-02T05:00")
        assert drawn["a"][0][-1] == np.datetime64("2020-01-02T11:00")
    else:
        assert drawn["a"][0].tolist() == [1, 2, 3, 4, 5, 6]


def test_the_past_is_cut_where_the_series_begins():
    drawn = lines(forecast_plot(np.arange(30.0), {"a": np.zeros(6)}, 2))
    assert drawn["measured"][0].tolist() == list(range(-2, 7))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.ones(9), {}, 3), "no forecast"),
        ((np.ones((2, 9)), {"a": np.ones(2)}, 3), "the series has the shape (2, 9)"),
        ((np.ones(9), {"a": np.ones((2, 1))}, 3), "a has the shape (2, 1)"),
        ((np.ones(9), {"a": np.ones(2)}, 9), "the origin 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, said):
    with pytest.raises(DataError) as caught:
        forecast_plot(*arguments)
    assert said in str(caught.value)
    times = pd.date_range("2020-01-01", periods=3, freq="1h")
    with pytest.raises(DataError, match="3 time stamps for 9 steps"):
        forecast_plot(np.ones(9), {"a": np.ones(2)}, 3, times=times)
