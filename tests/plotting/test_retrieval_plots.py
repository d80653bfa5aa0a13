import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from tscl.errors import DataError
from tscl.plotting import accuracy_by_subject, attention_map, rank_histogram


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_bars_are_shares_of_the_queries():
    ranks = np.array([1, 1, 1, 2, 51, 101, np.nan])
    ax = plt.subplots()[1]
    assert rank_histogram(ranks, 101, ax=ax) is ax
    heights = [bar.get_height() for bar in ax.patches if isinstance(bar, mpl.patches.Rectangle)]
    expected = np.zeros(10)
    expected[[0, 5, 9]] = np.array([4, 1, 1]) / 6
    assert heights == pytest.approx(expected)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chance", "median 0.005"]
    [step] = [one for one in ax.patches if isinstance(one, mpl.patches.StepPatch)]
    assert step.get_data().values == pytest.approx(np.r_[np.full(9, 10), 11] / 101)


@pytest.mark.parametrize(
    ("ranks", "n", "said"),
    [([], 9, "0 ranks"), ([1, 10], 9, "from 1 to 10"), ([0.5], 9, "from 0.5"), ([1], 1, "among 1")],
)
def test_ranks_that_cannot_be_drawn_are_refused(ranks, n, said):
    with pytest.raises(DataError, match=said):
        rank_histogram(np.array(ranks, dtype=float), n)


def subjects():
    rows = [("net", "a", 0.2), ("net", "b", 0.6), ("net", "c", np.nan), ("linear", "a", 0.3), ("linear", "b", 0.1)]
    rows += [("linear", "c", np.nan), ("chance", "a", 0.05), ("chance", "b", 0.07), ("chance", "c", np.nan)]
    return pd.DataFrame(rows, columns=["model", "subject", "word_top10"])


def test_every_subject_has_a_bar_a_model_and_its_chance():
    ax = accuracy_by_subject(subjects(), "word_top10")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["b", "a", "c"]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    np.testing.assert_array_equal(heights["net"], [0.6, 0.2, np.nan])
    np.testing.assert_array_equal(heights["linear"], [0.1, 0.3, np.nan])
    [lines] = ax.collections
    drawn = [segment[:, 1].tolist() for segment in lines.get_segments() if len(segment)]
    assert drawn == [[0.07, 0.07], [0.05, 0.05]]
    assert ax.get_ylabel() == "word-level top-10 accuracy"


def test_a_low_rank_is_the_best():
    table = subjects().rename(columns={"word_top10": "median_relative_rank"})
    ax = accuracy_by_subject(table, "median_relative_rank")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert ax.get_ylabel() == "median relative rank"


def test_tables_that_cannot_be_drawn_are_refused():
    with pytest.raises(DataError, match="no column 'top10'"):
        accuracy_by_subject(subjects())
    with pytest.raises(DataError, match="no model but chance"):
        accuracy_by_subject(subjects().query("model == 'chance'"), "word_top10")


def sensors(n=40):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, size=(n, 2))


def map_values(ax):
    """The colour image (row 0 at the bottom) with the coordinates of its columns and rows."""
    image = ax.images[0]
    array = np.ma.filled(image.get_array().astype(float), np.nan)
    left, right, bottom, top = image.get_extent()
    return array, np.linspace(left, right, array.shape[1]), np.linspace(bottom, top, array.shape[0])


@pytest.mark.parametrize("side", [0.15, 0.85])
def test_the_map_is_warm_where_the_weights_are(side):
    positions = sensors()
    weights = np.exp(-((positions - [side, 0.8]) ** 2).sum(axis=1) / 0.02)
    positions[3] = np.nan
    ax = plt.subplots()[1]
    assert attention_map(weights, positions, ax=ax) is ax
    array, x, y = map_values(ax)
    row, column = np.unravel_index(np.nanargmax(array), array.shape)
    assert y[row] > 0.02
    assert np.sign(x[column]) == np.sign(side - 0.5)
    assert ax.images[0].get_clim() == pytest.approx((0, weights[np.arange(40) != 3].max()))


def test_signed_weights_are_centred_on_white_and_names_are_written():
    weights = np.linspace(-1, 2, 40)
    names = ["first", *[""] * 38, "last"]
    ax = attention_map(weights, sensors(), names=names)
    assert ax.images[0].get_clim() == (-2, 2)
    assert {text.get_text() for text in ax.texts} - {""} == {"first", "last"}


def test_maps_that_cannot_be_drawn_are_refused():
    with pytest.raises(DataError, match=r"\(39,\) and positions \(40, 2\)"):
        attention_map(np.ones(39), sensors())
    with pytest.raises(DataError, match="3 names"):
        attention_map(np.ones(40), sensors(), names=["a", "b", "c"])
    with pytest.raises(DataError, match="2 of 40 sensors have a position"):
        attention_map(np.ones(40), np.where(np.arange(40)[:, None] < 2, sensors(), np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        attention_map(np.full(40, np.nan), sensors())
