import logging

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tscl.data import Channels, WindowDataset
from tscl.encoders import BrainConv, DilatedConvEncoder
from tscl.errors import ConfigError, DataError
from tscl.evaluation import SimilarityAttribution, attribute_recordings, attribute_similarity, embed
from tscl.functional import pool_time
from tscl.types import Sensors

SENSOR, FROM, TO = 2, 10, 20


class Narrow(nn.Module):
    """Sees sensor 2 from step 10 to 20 only: two linear dimensions and a constant one."""

    dim = 3

    def __init__(self):
        super().__init__()
        draw = np.random.default_rng(0)
        self.weight = nn.Parameter(torch.tensor(draw.normal(size=(2, TO - FROM)), dtype=torch.float32))

    def forward(self, x):
        h = x.nan_to_num(0.0)[:, SENSOR, FROM:TO] @ self.weight.T
        return torch.cat([h, torch.full_like(h[:, :1], 2.0)], dim=1)[:, :, None]


def noise(n=3, channels=4, times=30, seed=0):
    return np.random.default_rng(seed).normal(size=(n, channels, times)).astype("float32")


def outside(attribution):
    rest = attribution.copy()
    rest[:, SENSOR, FROM:TO] = 0
    return np.abs(rest).max()


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_what_the_encoder_does_not_see_gets_nothing(method):
    X1, X2 = noise(seed=1), noise(seed=2)
    found = attribute_similarity(Narrow(), X1, X2, method=method, window=1)
    assert isinstance(found, SimilarityAttribution)
    for attribution in (found.first, found.second):
        assert attribution.shape == X1.shape
        assert outside(attribution) < 1e-6
        assert (np.abs(attribution[:, SENSOR, FROM:TO]).sum(axis=1) > 0.05).all()


def cosine(encoder, x, h, pooling="max", keep=None):
    with torch.no_grad():
        pooled = pool_time(encoder(torch.as_tensor(x)), pooling, None if keep is None else torch.as_tensor(keep))
        return F.cosine_similarity(pooled, h).numpy()


def test_the_maps_sum_to_the_change_from_the_baseline():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=2).eval()
    X1, X2 = noise(seed=1), noise(seed=2)
    baseline = np.array([[0.3], [0.0], [-0.2], [1.0]], dtype="float32")
    found = attribute_similarity(encoder, X1, X2, steps=200, baseline=baseline, pooling="mean/2+max")
    h1, h2 = (torch.from_numpy(embed(encoder, X, pooling="mean/2+max")) for X in (X1, X2))
    silence = np.broadcast_to(baseline, X1.shape).copy()
    np.testing.assert_allclose(found.similarity, F.cosine_similarity(h1, h2), atol=1e-5)
    for attribution, h in ((found.first, h2), (found.second, h1)):
        change = found.similarity - cosine(encoder, silence, h, "mean/2+max")
        assert np.abs(change).max() > 0.05
        np.testing.assert_allclose(attribution.sum(axis=(1, 2)), change, atol=2e-3)
    coarse = attribute_similarity(encoder, X1, X2, steps=2, baseline=baseline, pooling="mean/2+max")
    assert np.abs(found.residual).max() < 2e-3 < np.abs(coarse.residual).max()
    swapped = attribute_similarity(encoder, X2, X1, steps=200, baseline=baseline, pooling="mean/2+max")
    np.testing.assert_allclose(swapped.first, found.second, atol=1e-6)


def test_integrated_gradients_are_the_integral_written_out():
    encoder, X1, X2 = Narrow(), noise(1, seed=1), noise(1, seed=2)
    h2 = torch.from_numpy(embed(encoder, X2))
    total, n = torch.zeros(1, 4, 30), 2000
    for alpha in (np.arange(n) + 0.5) / n:
        x = (torch.from_numpy(X1) * alpha).requires_grad_()
        total += torch.autograd.grad(F.cosine_similarity(encoder(x)[:, :, 0], h2).sum(), x)[0]
    expected = torch.from_numpy(X1) * total / n
    np.testing.assert_allclose(attribute_similarity(encoder, X1, X2).first, expected, atol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(4, 3), (5, 5), (7, 2)])
def test_occlusion_is_the_mean_fall_over_the_stretches_that_cover_a_moment(window, stride):
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=1).eval()
    X1, X2 = noise(2, seed=1), noise(2, seed=2)
    found = attribute_similarity(encoder, X1, X2, method="occlusion", window=window, stride=stride, baseline=0.5)
    h2 = torch.from_numpy(embed(encoder, X2))
    whole = cosine(encoder, X1, h2)
    falls = [[[[] for _ in range(30)] for _ in range(4)] for _ in range(2)]
    for channel in range(4):
        start = 0
        while True:
            hidden = X1.copy()
            hidden[:, channel, start : start + window] = 0.5
            fall = whole - cosine(encoder, hidden, h2)
            for step in range(start, min(start + window, 30)):
                for pair in range(2):
                    falls[pair][channel][step].append(fall[pair])
            if start + window >= 30:
                break
            start += stride
    np.testing.assert_allclose(found.first, np.vectorize(np.mean, otypes=[float])(as_objects(falls)), atol=1e-5)
    assert np.isnan(found.residual).all()


def as_objects(nested):
    array = np.empty((2, 4, 30), dtype=object)
    for place in np.ndindex(array.shape):
        array[place] = nested[place[0]][place[1]][place[2]]
    return array


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_burst_that_both_windows_share_is_found(method):
    """Two noisy windows with the same burst, at different times; random filters see it as any network does."""
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=32, hidden=16, depth=3, dropout=0.0)
    burst = 4 * np.sin(np.arange(16) * 1.2) * np.hanning(16)
    X1, X2 = 0.3 * noise(8, times=120, seed=1), 0.3 * noise(8, times=120, seed=2)
    X1[:, 1:3, 20:36] += burst
    X2[:, 1:3, 80:96] += burst
    found = attribute_similarity(encoder, X1, X2, method=method, window=8, stride=4)
    for attribution, start in ((found.first, 20), (found.second, 80)):
        inside = np.zeros((4, 120), dtype=bool)
        inside[1:3, start : start + 16] = True
        density = np.abs(attribution)[:, inside].mean() / np.abs(attribution)[:, ~inside].mean()
        assert density > 8
        assert (attribution[:, inside].sum(axis=1) > 0).all()


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_missing_values_stay_missing_and_get_nothing(method):
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=2)
    X1, X2 = noise(seed=1), noise(seed=2)
    X1[0, 1] = np.nan
    X1[1, :, 22:] = np.nan
    X2[2, 0, 4] = np.nan
    found = attribute_similarity(encoder, X1, X2, method=method)
    assert np.isfinite(found.first).all()
    assert np.isfinite(found.second).all()
    assert (found.first[np.isnan(X1)] == 0).all()
    assert (found.second[np.isnan(X2)] == 0).all()
    if method == "integrated_gradients":
        silence = np.where(np.isnan(X1), np.nan, 0).astype("float32")
        h2 = torch.from_numpy(embed(encoder, X2))
        change = found.similarity - cosine(encoder.eval(), silence, h2, keep=~np.isnan(X1).all(axis=1))
        np.testing.assert_allclose(found.first.sum(axis=(1, 2)), change, atol=0.01)


def test_the_size_of_a_batch_changes_nothing_and_the_encoder_is_left_alone():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    X1, X2 = noise(5, times=12, seed=1), noise(5, times=12, seed=2)
    for method in ("integrated_gradients", "occlusion"):
        whole = attribute_similarity(encoder, X1, X2, method=method, steps=6)
        for size in (1, 2, 300):
            parts = attribute_similarity(encoder, X1, X2, method=method, steps=6, batch_size=size)
            np.testing.assert_allclose(parts.first, whole.first, atol=1e-6)
            np.testing.assert_allclose(parts.residual, whole.residual, atol=1e-6)
    assert encoder.training
    assert all(one.grad is None and one.requires_grad for one in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_centred_embeddings():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=2)
    X1, X2 = noise(seed=1), noise(seed=2)
    h1, h2 = embed(encoder, X1), embed(encoder, X2)
    centre = np.concatenate([h1, h2]).mean(axis=0)
    found = attribute_similarity(encoder, X1, X2, centre=centre, steps=100)
    expected = F.cosine_similarity(torch.from_numpy(h1 - centre), torch.from_numpy(h2 - centre))
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)
    assert np.abs(found.residual).max() < 0.02
    with pytest.raises(ConfigError, match=r"centre has shape \(3,\), the embeddings have 8 values"):
        attribute_similarity(encoder, X1, X2, centre=np.zeros(3))


def test_sensors_of_a_data_set_reach_the_encoder():
    class Placed(WindowDataset):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            n = len(batch.x)
            batch.sensors = Sensors(torch.linspace(0.1, 0.9, 8).reshape(1, 4, 2).repeat(n, 1, 1), torch.zeros(n).long())
            return batch

    torch.manual_seed(0)
    encoder = BrainConv(4, dim=6, n_subjects=1, virtual=5, hidden=8, depth=1, n_frequencies=3)
    channels = Channels(tuple("abcd"), ("eeg",) * 4, "uV", 10.0)
    table = pd.DataFrame({"patient": [0, 0, 1], "trial": [0, 1, 0]})
    first, second = (Placed(noise(seed=seed), table, channels) for seed in (1, 2))
    found = attribute_similarity(encoder, first, second)
    assert np.abs(found.residual).max() < 0.02
    pairs, best = attribute_recordings(encoder, first, second, n_pairs=2)
    np.testing.assert_allclose(best.similarity.max(), best.similarity[0])
    assert pairs.shape == (2, 2)


def test_the_most_similar_windows_of_two_recordings_are_explained():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, dim=8, hidden=6, depth=2)
    X1, X2 = noise(5, seed=1), noise(4, seed=2)
    X2[3] = X1[1] + 0.01
    X2[0] = 1.02 * X1[1]
    X2[2] = X1[4] + 0.05 * noise(1, seed=5)[0]
    for given in ((X1, X2), (torch.from_numpy(X1), torch.from_numpy(X2))):
        pairs, found = attribute_recordings(encoder, *given, n_pairs=2, pooling="mean+max", method="occlusion")
        assert pairs[0, 0] == 1
        assert pairs[0, 1] in (0, 3)
        assert pairs[1].tolist() == [4, 2]
        expected = attribute_similarity(
            encoder, X1[pairs[:, 0]], X2[pairs[:, 1]], pooling="mean+max", method="occlusion"
        )
        np.testing.assert_array_equal(found.first, expected.first)
    with pytest.raises(ConfigError, match="n_pairs is 5: the recordings have 5 and 4 windows"):
        attribute_recordings(encoder, X1, X2, n_pairs=5)


def test_a_rough_integral_is_said(caplog):
    encoder, X1, X2 = Narrow(), 100 * noise(seed=1), noise(seed=2)
    with caplog.at_level(logging.WARNING):
        found = attribute_similarity(encoder, X1, X2, steps=2)
    assert np.abs(found.residual).max() > 0.05
    assert "raise steps (now 2)" in caplog.text


class Linear(Narrow):
    def forward(self, x):
        return super().forward(x)[:, :2]


def test_what_cannot_be_explained_is_refused():
    encoder, X = Narrow(), noise()
    with pytest.raises(DataError, match=r"shapes \(3, 4, 30\) and \(2, 4, 30\) do not pair"):
        attribute_similarity(encoder, X, X[:2])
    with pytest.raises(DataError, match=r"shape \(4, 30\), expected"):
        attribute_similarity(encoder, X[0], X[0])
    silent = X * np.array([1, 0, 1], dtype="float32")[:, None, None]
    with pytest.raises(DataError, match="embedding of window 1 is zero or not finite"):
        attribute_similarity(Linear(), X, silent, method="occlusion", batch_size=1)
    with pytest.raises(ConfigError, match="embedding of the baseline is zero"):
        attribute_similarity(Linear(), X, X)
    assert attribute_similarity(Linear(), X, X, method="occlusion", window=2).similarity == pytest.approx(1)
    with pytest.raises(ConfigError, match="choose one of integrated_gradients, occlusion"):
        attribute_similarity(encoder, X, X, method="saliency")
    with pytest.raises(ConfigError, match="steps is 0"):
        attribute_similarity(encoder, X, X, steps=0)
    with pytest.raises(ConfigError, match="window is 31 and stride 15 for 30 time steps"):
        attribute_similarity(encoder, X, X, method="occlusion", window=31)
    with pytest.raises(ConfigError, match=r"baseline has shape \(4,\), windows \(4, 30\)"):
        attribute_similarity(encoder, X, X, baseline=np.zeros(4))
    with pytest.raises(ConfigError, match="unknown pooling 'median'"):
        attribute_similarity(encoder, X, X, pooling="median")
