"""What the embedding map of a report is drawn from."""

import base64

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from tscl.data import Channels, WindowDataset
from tscl.errors import DataError
from tscl.evaluation import EmbeddingPoints, embedding_points
from tscl.evaluation.report.points import block_means, draw, quantise


class Same(nn.Module):
    """An encoder that returns its input, a missing value as 0."""

    dim = 2

    def forward(self, x, mask=None, sensors=None):
        return x.nan_to_num()


def cohort(n=40, n_channels=2, n_times=30, sfreq=30.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_channels, n_times)).astype("float32").cumsum(axis=2)
    X[3, 1, 5:9] = np.nan
    table = pd.DataFrame({"patient": [f"P{k // 4}" for k in range(n)], "trial": np.arange(n), "sick": np.arange(n) % 2})
    table["onset"] = np.arange(n) * 0.5
    names = tuple(f"c{k}" for k in range(n_channels))
    return WindowDataset(X, table, Channels(names, ("eeg",) * n_channels, "uV", sfreq), target="sick")


def decoded(points):
    """The signals as the page computes them from what is stored."""
    said = points.to_dict()
    low, unit = (
        np.frombuffer(base64.b64decode(said[key]), "<f4").reshape(said["shape"][:2]) for key in ("low", "unit")
    )
    stored = np.frombuffer(base64.b64decode(said["signals"]), "<i2").reshape(said["shape"]).astype(float)
    return np.where(stored == -32768, np.nan, low[:, :, None] + (stored + 32767) * unit[:, :, None])


def test_points_are_windows_in_the_plane_of_their_embeddings():
    data = cohort()
    split = data.split(by="patient", val=0.2, test=0.3, seed=0)
    points = embedding_points(Same(), split.sides, pooling="mean")
    assert isinstance(points, EmbeddingPoints)
    assert (len(points.table), points.total, points.target) == (40, 40, "sick")
    X = np.concatenate([side.numpy() for side in split.sides.values()])
    H = np.nan_to_num(X).mean(axis=2)
    _, vectors = np.linalg.eigh(np.cov(H.T))
    expected = (H - H.mean(axis=0)) @ vectors[:, ::-1]
    np.testing.assert_allclose(np.abs(points.plane), np.abs(expected), atol=1e-4)
    variances = expected.var(axis=0)
    np.testing.assert_allclose(points.share, variances / variances.sum(), rtol=1e-4)
    for name, side in split.sides.items():
        rows = points.table[points.table["split"] == name]
        assert rows["trial"].tolist() == side.metadata["trial"].tolist()
    np.testing.assert_array_equal(points.signals, X)
    tolerance = (np.nanmax(X, axis=2) - np.nanmin(X, axis=2)).max() / 65534
    np.testing.assert_allclose(decoded(points), X, atol=tolerance)
    columns = points.to_dict()["columns"]
    assert [columns["trial"]["values"][code] for code in columns["trial"]["codes"]] == points.table["trial"].map(
        str
    ).tolist()


def test_long_and_wide_windows_are_made_small_and_say_so():
    data = cohort(n=6, n_channels=11, n_times=1100, sfreq=1100.0)
    said = embedding_points(Same(), {"train": data}, pooling="mean").to_dict()
    assert said["shape"] == [6, 8, 367]
    assert (said["n_channels"], said["names"]) == (11, [f"c{k}" for k in range(8)])
    assert said["step"] == 3
    assert said["sfreq"] == pytest.approx(1100 / 3)


def test_a_map_needs_finite_embeddings():
    class Broken(Same):
        def forward(self, x, mask=None, sensors=None):
            return x * np.inf

    with pytest.raises(DataError, match="no map to draw"):
        embedding_points(Broken(), {"train": cohort()})


def test_block_means_leave_missing_values_out():
    x = np.array([[[1.0, 3.0, np.nan, 5.0, np.nan, np.nan, 7.0]]])
    np.testing.assert_allclose(block_means(x, 2), [[[2.0, 5.0, np.nan, 7.0]]])


@given(
    arrays(
        np.float32,
        (2, 2, 7),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.just(np.float32(np.nan)),
    )
)
def test_stored_integers_are_as_near_as_their_unit(x):
    stored, low, unit = quantise(x)
    back = np.where(stored == -32768, np.nan, low[:, :, None] + (stored.astype(float) + 32767) * unit[:, :, None])
    np.testing.assert_array_equal(np.isnan(back), np.isnan(x))
    # Units below the smallest normal number have few digits themselves.
    limit = unit[:, :, None] + 1e-6 * np.abs(x) + np.finfo(np.float32).tiny
    assert np.all(np.isnan(x) | (np.abs(back - x) <= limit))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(2, 40))
def test_half_of_many_windows_are_of_the_test_side(train, val, test, limit):
    sizes = {"train": train, "val": val, "test": test}
    drawn = draw(sizes, limit, seed=0)
    assert all(len(np.unique(rows)) == len(rows) and np.all(rows < sizes[name]) for name, rows in drawn.items())
    total = sum(map(len, drawn.values()))
    assert total <= limit
    assert len(drawn["test"]) >= min(test, limit // 2)
    if sum(sizes.values()) <= limit:
        assert total == sum(sizes.values())
