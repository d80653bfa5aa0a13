import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tscl.encoders import CausalConvEncoder, DilatedConvEncoder
from tscl.errors import ConfigError, DataError
from tscl.evaluation import embed_series


def causal(**changes):
    torch.manual_seed(0)
    settings = {"in_channels": 2, "dim": 6, "hidden": 5, "depth": 1, "trend_kernels": (1, 4, 20), "dropout": 0.4}
    return CausalConvEncoder(**settings | changes)


def series(steps=150, missing=False):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, steps)).astype(np.float32)
    if missing:
        x[1, :7] = np.nan
        x[0, 40:60] = np.nan
        x[:, 90:93] = np.nan
        x[1, 93:] = np.nan
    return x


def whole_past(encoder, x, mask_last=False):
    """Row t from an encoding of its own of everything up to t."""
    rows = []
    encoder.eval()
    with torch.no_grad():
        for t in range(x.shape[1]):
            mask = torch.ones(1, t + 1, dtype=torch.bool)
            mask[0, -1] = not mask_last
            rows.append(encoder(torch.tensor(x[None, :, : t + 1]), mask)[0, :, -1].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("mask_last", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("chunk", [1, 40, 1000])
def test_one_pass_is_the_whole_past(chunk, missing, mask_last):
    encoder, x = causal(), series(missing=missing)
    expected = whole_past(encoder, x, mask_last)
    ours = embed_series(encoder, x, chunk=chunk, mask_last=mask_last)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 5, 32, 33, 34, 150])
@pytest.mark.parametrize("mask_last", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_both_methods_agree_on_every_step(steps, missing, mask_last):
    encoder, x = causal(), series(steps, missing)
    assert encoder.receptive_field == 32
    one = embed_series(encoder, x, method="one_pass", mask_last=mask_last)
    for context in (31, 45):
        other = embed_series(encoder, x, method="sliding", context=context, batch_size=7, mask_last=mask_last)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_sliding_sees_the_context_alone():
    encoder, x = causal(), series()
    z = embed_series(encoder, x, method="sliding", context=10)
    encoder.eval()
    for t in (0, 3, 10, 11, 149):
        window = torch.tensor(x[None, :, max(0, t - 10) : t + 1])
        np.testing.assert_allclose(z[t], encoder(window)[0, :, -1].detach().numpy(), atol=1e-6)
    assert not np.allclose(z, embed_series(encoder, x), atol=1e-3)


@pytest.mark.parametrize("mask_last", [False, True])
def test_sliding_with_an_encoder_that_is_not_causal(mask_last):
    torch.manual_seed(0)
    encoder, x = DilatedConvEncoder(2, dim=6, hidden=4, depth=2), series(40)
    z = embed_series(encoder, x, context=12, batch_size=9, mask_last=mask_last)
    padded = np.pad(x, ((0, 0), (12, 0)), constant_values=np.nan)
    mask = torch.ones(1, 13, dtype=torch.bool)
    mask[0, -1] = not mask_last
    encoder.eval()
    for t in range(40):
        window = torch.tensor(padded[None, :, t : t + 13])
        np.testing.assert_allclose(z[t], encoder(window, mask)[0, :, -1].detach().numpy(), atol=1e-6)


def test_no_row_depends_on_a_later_value():
    x = series(90)
    other = x.copy()
    other[:, 50:] = 1e3
    for encoder in (causal(), DilatedConvEncoder(2, dim=4, hidden=4, depth=2)):
        before, after = (embed_series(encoder, one, context=40, chunk=35) for one in (x, other))
        np.testing.assert_array_equal(before[:50], after[:50])
        assert (before[50] != after[50]).any()


def test_a_hidden_last_step_does_not_matter():
    x = series(90)
    other = x.copy()
    other[:, 70] += 5
    for encoder in (causal(), DilatedConvEncoder(2, dim=4, hidden=4, depth=2)):
        before, after = (embed_series(encoder, one, context=40, mask_last=True) for one in (x, other))
        np.testing.assert_allclose(before[70], after[70], atol=1e-6)
        assert np.abs(before[71] - after[71]).max() > 1e-3
        assert np.abs(before - embed_series(encoder, x, context=40)).max() > 1e-3


def test_memory_does_not_grow_with_the_series():
    encoder = causal()
    widths = []
    encoder.trend[0].register_forward_hook(lambda *_: pytest.fail("the trend is one merged convolution"))
    encoder.blocks.register_forward_hook(lambda _, inputs, output: widths.append(output.shape[2]))
    for steps in (400, 4000):
        widths.clear()
        embed_series(encoder, np.zeros((2, steps)), chunk=100)
        assert len(widths) == steps // 100
        assert max(widths) == 100 + encoder.receptive_field - 1


def test_the_chunk_is_at_least_the_receptive_field():
    encoder = causal()
    widths = []
    encoder.blocks.register_forward_hook(lambda _, inputs, output: widths.append(output.shape[2]))
    embed_series(encoder, np.zeros((2, 320)), chunk=1)
    assert widths == [32] + [63] * 9


def test_an_encoder_is_left_as_it_was_and_tensors_are_taken():
    encoder, x = causal().train(), series(60)
    z = embed_series(encoder, torch.tensor(x, dtype=torch.float64), device="cpu", progress=True)
    assert encoder.training
    np.testing.assert_allclose(z, embed_series(encoder, x), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = embed_series(encoder, np.broadcast_to(x[:1], x.shape))
    assert z.shape == (60, 6)


class Cumulative(nn.Module):
    """A causal encoder of one's own: nothing but the seam."""

    dim, causal, receptive_field = 2, True, 3

    def forward(self, x, mask=None, sensors=None):
        x = x if mask is None else x * mask[:, None]
        return x + torch.nn.functional.pad(x, (2, 0))[:, :, :-2]


def test_a_causal_encoder_of_one_s_own():
    x = series(50)
    expected = x + np.pad(x, ((0, 0), (2, 0)))[:, :-2]
    np.testing.assert_allclose(embed_series(Cumulative(), x, chunk=8), expected.T, atol=1e-6)
    hidden = embed_series(Cumulative(), x, context=9, mask_last=True)
    np.testing.assert_allclose(hidden, (expected - x).T, atol=1e-6)
    with pytest.raises(ConfigError, match="has no features_last_hidden.*method='sliding'"):
        embed_series(Cumulative(), x, mask_last=True, method="one_pass")


def test_wrong_input_is_refused():
    encoder, x = causal(), series(20)
    with pytest.raises(DataError, match=r"has shape \(1, 2, 20\), expected \(channels, steps\)"):
        embed_series(encoder, x[None])
    for empty in (x[:, :0], x[:0]):
        with pytest.raises(DataError, match="no value to embed"):
            embed_series(encoder, empty)
    with pytest.raises(ConfigError, match="built for 2 channels"):
        embed_series(encoder, x[:1])
    with pytest.raises(ConfigError, match="method is 'fast': use one of auto, one_pass, sliding"):
        embed_series(encoder, x, method="fast")
    with pytest.raises(ConfigError, match="DilatedConvEncoder is not causal.*use method='sliding'"):
        embed_series(DilatedConvEncoder(2, dim=4, hidden=4, depth=1), x, method="one_pass")
    for wrong in ({"context": -1}, {"chunk": 0}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match="use 0 or more, 1 or more, 1 or more"):
            embed_series(encoder, x, **wrong)


class Coarse(nn.Module):
    def forward(self, x, mask=None, sensors=None):
        return x[:, :, ::2]


class Pooled(nn.Module):
    def forward(self, x, mask=None, sensors=None):
        return x.mean(2)


@pytest.mark.parametrize("encoder", [Coarse(), Pooled()])
def test_an_encoder_without_one_embedding_a_step_is_refused(encoder):
    with pytest.raises(ConfigError, match=f"{type(encoder).__name__} returned .* encoders that keep the time resol"):
        embed_series(encoder, series(20), context=5)
