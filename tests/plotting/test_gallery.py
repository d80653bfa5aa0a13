import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from tscl.errors import DataError
from tscl.plotting import view_gallery
from tscl.plotting.style import GREY, PALETTE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def window():
    return np.random.default_rng(0).normal(size=(3, 50)) + [[5], [0], [-100]]


def test_a_panel_a_view_with_the_window_behind_it(window):
    views = {"twice": 2 * window, "slice": window[:, :20], "same": window}
    axes = view_gallery(window, views, sfreq=10.0, columns=2, colours=[PALETTE[1], PALETTE[2], PALETTE[3]])
    assert [ax.get_title(loc="left") for ax in axes] == list(views)
    assert len(axes[0].figure.axes) == 3
    for ax, view, colour in zip(axes, views.values(), PALETTE[1:], strict=False):
        assert [line.get_color() for line in ax.lines] == [GREY] * 3 + [colour] * 3
        np.testing.assert_allclose(ax.lines[0].get_xdata(), np.arange(50) / 10)
        assert len(ax.lines[5].get_xdata()) == view.shape[1]
        shift = [line.get_ydata() - row for line, row in zip(ax.lines[:3], window, strict=True)]
        for line, row, moved in zip(ax.lines[3:], view, shift, strict=True):
            np.testing.assert_allclose(line.get_ydata(), row + moved[: len(row)])
        assert ax.get_xlim() == (0, 5)


def test_channels_lie_one_below_the_other_and_within_the_panel(window):
    [ax] = view_gallery(window, {"same": window})
    drawn = [line.get_ydata() for line in ax.lines[:3]]
    assert drawn[0].min() > drawn[1].max()
    assert drawn[1].min() > drawn[2].max()
    low, high = ax.get_ylim()
    assert low < min(map(np.min, drawn))
    assert high > max(map(np.max, drawn))


def test_given_axes_are_used_and_gaps_are_not_drawn(window):
    figure, given = plt.subplots(1, 3)
    window[0, 3:9] = np.nan
    window[1] = np.nan
    axes = view_gallery(window, {"a": window, "b": window}, axes=given)
    assert axes == list(given[:2])
    assert plt.get_fignums() == [figure.number]
    assert np.isnan(axes[0].lines[3].get_ydata()).sum() == 6
    assert np.isfinite(axes[0].get_ylim()).all()
    [flat] = view_gallery(np.zeros((1, 5)), {"flat": np.zeros((1, 5))})
    assert flat.get_ylim()[0] < 0 < flat.get_ylim()[1]


def test_what_cannot_be_drawn_is_refused(window):
    with pytest.raises(DataError, match="no view to draw"):
        view_gallery(window, {})
    with pytest.raises(DataError, match="the view 'few' has shape"):
        view_gallery(window, {"few": window[:2]})
    with pytest.raises(DataError, match="1 views but 0 axes"):
        view_gallery(window, {"a": window}, axes=[])
    with pytest.raises(DataError, match="2 views but 2 axes and 1 colours"):
        view_gallery(window, {"a": window, "b": window}, colours=["red"])
    for unusable in (window[0], np.full((2, 5), np.nan)):
        with pytest.raises(DataError, match="at least one finite value"):
            view_gallery(unusable, {"a": window})
