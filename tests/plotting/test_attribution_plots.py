import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from tscl.data import Channels
from tscl.data.datasets import SimulatedEEG
from tscl.errors import ConfigError, DataError
from tscl.plotting import (
    attribution_over_signal,
    attribution_topomap,
    embedding_map,
    retrieval_examples,
    score_distributions,
    similarity_matrix,
)
from tscl.plotting.scores import scored


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1", "O2")


def channels():
    return SimulatedEEG(n_patients=2, n_trials=1, ch_names=NAMES).load().channels


def hottest(ax):
    """Where the map is warmest: (x, y), in units of the head's radius."""
    image = ax.images[0]
    array = np.ma.filled(image.get_array().astype(float), np.nan)
    left, right, bottom, top = image.get_extent()
    row, column = np.unravel_index(np.nanargmax(array), array.shape)
    return np.linspace(left, right, array.shape[1])[column] / 0.095, np.linspace(bottom, top, array.shape[0])[
        row
    ] / 0.095


@pytest.mark.parametrize(("name", "x", "y"), [("O1", -1, -1), ("O2", 1, -1), ("Fp1", -1, 1), ("Fp2", 1, 1)])
def test_the_map_is_warm_over_the_sensor_that_contributed(name, x, y):
    values = np.array([one == name for one in NAMES], dtype=float)
    found = hottest(attribution_topomap(values, channels(), names=NAMES))
    assert np.sign(found).tolist() == [x, y]
    assert abs(found[1]) > 0.6


def test_positions_channels_and_an_info_give_the_same_map():
    import mne

    values, known = np.random.default_rng(0).normal(size=len(NAMES)), channels()
    info = mne.create_info(list(NAMES), 100.0, "eeg")
    places = dict(zip(NAMES, known.positions, strict=True))
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    maps = [attribution_topomap(values, given).images[0].get_array() for given in (known, known.positions, info)]
    np.testing.assert_allclose(maps[0], maps[1])
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-5)


def test_sensors_at_one_place_are_added_and_unknown_ones_left_out():
    places = channels().positions
    values = np.random.default_rng(0).normal(size=len(NAMES))
    half = attribution_topomap(np.r_[values / 2, values / 2, 9.0], np.r_[places, places, [[np.nan] * 3]])
    np.testing.assert_allclose(half.images[0].get_array(), attribution_topomap(values, places).images[0].get_array())


def test_maps_that_cannot_be_drawn_are_refused():
    places = channels().positions
    with pytest.raises(DataError, match=r"shape \(3,\) and positions \(11, 3\)"):
        attribution_topomap(np.ones(3), places)
    with pytest.raises(DataError, match=r"0 of 2 sensors have a position of their own.*with a montage"):
        attribution_topomap(np.ones(2), Channels(("I", "II"), ("ecg", "ecg"), "mV", 100.0))
    with pytest.raises(DataError, match="NaN or infinity"):
        attribution_topomap(np.full(11, np.nan), places)


def test_each_channel_lies_over_its_own_shades():
    signal = np.array([[0.0, 1, 0, -1], [5, 5, 7, np.nan]])
    attribution = np.array([[0.0, 2, 0, 0], [0, 0, -1, np.nan]])
    times = np.array([0.0, 0.1, 0.2, 0.3])
    ax = attribution_over_signal(signal, attribution, times, ["a", "b"])
    assert ax.get_xlabel() == "time (s)"
    [image] = ax.images
    assert image.get_extent() == pytest.approx([-0.05, 0.35, -3.3, 1.1])
    np.testing.assert_array_equal(image.get_array(), np.nan_to_num(attribution)[::-1])
    assert image.get_clim() == pytest.approx((-2.6, 2.6))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    np.testing.assert_allclose(ax.get_yticks(), [0, -2.2])
    first, second = ax.lines
    np.testing.assert_allclose(first.get_xydata(), np.stack([times, signal[0]], axis=1))
    np.testing.assert_allclose(second.get_ydata(), signal[1] - 6 - 2.2)


def test_a_single_channel_keeps_its_values():
    signal = np.array([1.0, 3, 2])
    ax = attribution_over_signal(signal, np.zeros(3), names=["Cz"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), signal)
    assert ax.get_ylim() == pytest.approx((0.9, 3.1))
    assert ax.get_ylabel() == "Cz"


@pytest.mark.parametrize(
    ("shape", "other", "options", "said"),
    [
        ((2, 5), (2, 4), {}, r"\(2, 5\) and \(2, 4\)"),
        ((1, 2, 5), (1, 2, 5), {}, "give both"),
        ((2, 5), (2, 5), {"times": np.arange(4)}, r"times have the shape \(4,\)"),
        ((2, 5), (2, 5), {"names": ["a"]}, "there are 1 names"),
    ],
)
def test_shapes_must_agree(shape, other, options, said):
    with pytest.raises(DataError, match=said):
        attribution_over_signal(np.zeros(shape), np.zeros(other), **options)


def history():
    sides = {("positive", "q05"): [0.5, 0.7], ("positive", "q50"): [0.6, 0.8], ("positive", "q95"): [0.7, 0.9]}
    sides |= {("negative", "q05"): [0.1, 0.0], ("negative", "q50"): [0.3, 0.1], ("negative", "q95"): [0.5, 0.2]}
    table = pd.DataFrame({f"score/patient/{side}_{q}": values for (side, q), values in sides.items()})
    return table.assign(epoch=[0, 1], **{"score/window/positive_q50": np.nan, "train/loss": 1.0})


def test_bands_reach_from_quantile_to_quantile():
    table = history()
    assert scored(table) == ["patient"]
    ax = score_distributions(table)
    assert [line.get_label() for line in ax.lines] == ["positive pairs", "negative pairs"]
    assert ax.lines[0].get_xydata().tolist() == [[0, 0.6], [1, 0.8]]
    assert ax.lines[1].get_ydata().tolist() == [0.3, 0.1]
    corners = {tuple(corner) for corner in ax.collections[0].get_paths()[0].vertices.round(6).tolist()}
    assert {(0, 0.5), (0, 0.7), (1, 0.7), (1, 0.9)} <= corners
    assert ax.get_ylabel() == "cosine similarity (patient)"


def test_one_epoch_is_a_point_with_a_line_through_it():
    ax = score_distributions(history()[:1], "patient")
    assert ax.lines[0].get_marker() == "o"
    assert ax.collections[0].get_segments()[0].tolist() == [[0, 0.5], [0, 0.7]]


def test_a_table_without_scores_is_refused():
    with pytest.raises(DataError, match=r"no scores of trial pairs; it has those of \['patient'\]"):
        score_distributions(history(), "trial")
    with pytest.raises(DataError, match="no scores of any pairs"):
        score_distributions(pd.DataFrame({"epoch": [0]}))
    with pytest.raises(DataError, match=r"no columns \['score/patient/negative_q95'\]"):
        score_distributions(history().drop(columns="score/patient/negative_q95"))


def test_groups_are_sorted_within():
    rng = np.random.default_rng(0)
    embeddings, patients, trials = rng.normal(size=(30, 4)), rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    found = similarity_matrix(embeddings, patients, within=trials).images[0].get_array()
    order = sorted(range(30), key=lambda row: (patients[row], trials[row], row))
    unit = embeddings[order] - embeddings.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(found, unit @ unit.T)
    with pytest.raises(DataError, match=r"labels \(29,\)"):
        similarity_matrix(embeddings, patients, within=trials[1:])


def test_umap_keeps_clusters_together():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    embeddings = 10 * np.eye(3)[labels] + rng.normal(size=(60, 3))
    ax = embedding_map(embeddings, labels, method="umap")
    assert ax.get_xlabel() == "first UMAP dimension"
    again = embedding_map(embeddings, labels, method="umap")
    points = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_array_equal(points, again.collections[0].get_offsets())
    colours = ax.collections[0].get_facecolors().round(3)
    _, which = np.unique(colours, axis=0, return_inverse=True)
    centres = np.array([points[which.ravel() == one].mean(axis=0) for one in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == which.ravel()).all()


def test_what_umap_cannot_do_is_said(monkeypatch):
    with pytest.raises(DataError, match="five windows at least, there are 4"):
        embedding_map(np.eye(4), np.arange(4), method="umap")
    with pytest.raises(ConfigError, match="choose 'pca' or 'umap'"):
        embedding_map(np.eye(4), np.arange(4), method="tsne")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install 'tscl\[umap\]'"):
        embedding_map(np.eye(6), np.arange(6), method="umap")


def examples():
    rows = [
        (7, "S1", "once upon a time", 1.0, 1, "once upon a time", 0.75, True),
        (7, "S1", "once upon a time", 1.0, 2, "there was", 0.25, False),
        (9, "S2", "a king", 41.0, 1, "who had a very long name that nobody could say in one breath", 0.5, False),
        (9, "S2", "a king", 41.0, 2, "there was", 0.5, False),
    ]
    return pd.DataFrame(rows, columns=["query", "subject", "heard", "rank", "place", "words", "probability", "true"])


def test_the_true_candidate_has_a_frame_and_others_none():
    ax = retrieval_examples(examples())
    frames = [patch for patch in ax.patches if patch.get_linewidth() == 2]
    assert [(round(patch.get_x(), 2), patch.get_y()) for patch in frames] == [(0.02, -0.46)]
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("once upon a time") == 2
    assert "41" in texts
    [long] = [text for text in texts if text.startswith("who had")]
    assert long == "who had a very long name\nthat nobody could say in\none breath"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["heard", "candidate 1", "candidate 2", "rank"]
    shades = [patch.get_alpha() for patch in ax.patches if patch.get_fill()]
    assert shades == pytest.approx([0.45 * value for value in (0.75, 0.25, 0.5, 0.5)])
    with pytest.raises(DataError, match=r"4 rows and no columns \['rank'\]"):
        retrieval_examples(examples().drop(columns="rank"))
