import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from tscl.errors import DataError
from tscl.plotting import mask_over_signal


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_signal_mask_and_view_are_drawn_over_their_times():
    x, mask, transform = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 0.5, 1]), np.array([2.0, 2, 2, 1])
    times = np.array([0.0, 0.5, 1, 1.5])
    ax = plt.subplots()[1]
    assert mask_over_signal(x, mask, transform, times, ax=ax) is ax
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(drawn["signal"].get_xydata(), np.stack([times, x], 1))
    np.testing.assert_array_equal(drawn["learned view"].get_ydata(), [2, 0, 3, 4])
    [shade] = ax.images
    np.testing.assert_array_equal(shade.get_array(), mask[None])
    assert ax.get_xlim() == (0.0, 1.5)
    assert ax.get_title(loc="left") == "62 % kept (shaded)"


def test_without_a_transform_the_signal_stands_alone():
    ax = mask_over_signal(np.zeros(5), np.ones(5))
    assert [line.get_label() for line in ax.lines] == ["signal"]
    assert ax.get_xlim() == (0, 4)


@pytest.mark.parametrize("mask", [np.ones(4), np.ones((1, 5))])
def test_lengths_must_agree(mask):
    with pytest.raises(DataError, match=r"\(5,\), \(.*all of one length"):
        mask_over_signal(np.zeros(5), mask)
