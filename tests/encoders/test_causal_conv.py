import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.encoders import CausalConvEncoder, DilatedConvEncoder, encode_pair, load_encoder, save_encoder
from tscl.encoders.base import Encoder, split_missing
from tscl.encoders.long_conv import causal_conv
from tscl.errors import ConfigError
from tscl.types import View


def small(**changes):
    torch.manual_seed(0)
    settings = {"in_channels": 3, "dim": 5, "hidden": 4, "depth": 2, "trend_kernels": (1, 2, 4, 8), "dropout": 0.0}
    return CausalConvEncoder(**settings | changes)


def left(x, conv, dilation=1):
    width = (conv.kernel_size[0] - 1) * dilation
    return F.conv1d(F.pad(x, (width, 0)), conv.weight, conv.bias, dilation=dilation)


def obvious(encoder, x):
    """The same network with whole kernels, left padding, and a plain mean of the trend's convolutions."""
    h = encoder.stem(x)
    for i, block in enumerate(encoder.blocks):
        out = left(F.gelu(left(F.gelu(h), block.conv1.conv, 2**i)), block.conv2.conv, 2**i)
        h = out + block.projector(h)
    return sum(left(h, conv) for conv in encoder.trend) / len(encoder.trend)


@pytest.mark.parametrize("steps", [1, 2, 7, 75])
@pytest.mark.parametrize(("kernel_size", "trend_kernels"), [(3, (1, 2, 4, 8, 16, 32, 64)), (2, (40, 3, 3)), (5, (1,))])
def test_values_and_gradients_equal_the_obvious_network(steps, kernel_size, trend_kernels):
    encoder = small(kernel_size=kernel_size, trend_kernels=trend_kernels, depth=3).double()
    x = torch.randn(2, 3, steps, dtype=torch.float64)
    ours, theirs = encoder(x), obvious(encoder, x)
    assert ours.shape == (2, 5, steps)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    parameters = list(encoder.parameters())
    assert len(parameters) == 2 + 4 * 3 + 6 + 2 * len(trend_kernels)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), parameters),
        torch.autograd.grad((theirs * weight).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_default_is_the_paper_s():
    encoder = CausalConvEncoder(2)
    assert encoder.dim == 320
    assert len(encoder.blocks) == 11
    assert [tuple(conv.weight.shape) for conv in encoder.trend] == [(320, 320, 2**i) for i in range(8)]


def test_an_input_that_needs_a_gradient_gets_the_right_one():
    encoder = small(in_channels=2, dim=3, trend_kernels=(1, 20)).double()
    x = torch.randn(1, 2, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoder, (x,))


@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_long_convolution_is_a_convolution(steps, size, batch):
    torch.manual_seed(steps)
    x = torch.randn(batch, 2, steps, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, size, dtype=torch.float64, requires_grad=True)
    ours, theirs = causal_conv(x, weight), F.conv1d(F.pad(x, (size - 1, 0)), weight)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), [x, weight]),
        torch.autograd.grad((theirs * direction).sum(), [x, weight]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_long_convolution_can_train_after_inference():
    with torch.inference_mode():
        causal_conv(torch.randn(1, 1, 300), torch.randn(1, 1, 300))
    weight = torch.randn(1, 1, 300, requires_grad=True)
    causal_conv(torch.randn(1, 1, 300), weight).sum().backward()
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("change", [1.0, 1e6, float("inf"), float("nan")])
@pytest.mark.parametrize("step", [1, 8, 77, 150, 199])
def test_the_future_changes_no_bit(change, step):
    encoder = small(trend_kernels=(1, 2, 4, 8, 16, 32, 64, 128)).eval()
    x = torch.randn(2, 3, 200)
    other = x.clone()
    other[:, 1, step:] += change
    with torch.no_grad():
        a, b = encoder(x), encoder(other)
        assert torch.equal(a[:, :, :step], b[:, :, :step])
        assert not torch.equal(a[:, :, step], b[:, :, step])
        a, b = encoder.features_last_hidden(x), encoder.features_last_hidden(other)
        assert torch.equal(a[:, :, :step], b[:, :, :step])


def test_a_later_first_value_does_not_change_how_a_missing_channel_is_read():
    encoder = small().eval()
    x = torch.randn(1, 3, 30)
    x[:, 2] = torch.nan
    other = x.clone()
    other[:, 2, 20:] = 1.0
    with torch.no_grad():
        a, b = encoder(x), encoder(other)
    assert torch.equal(a[:, :, :20], b[:, :, :20])
    assert not torch.allclose(a[:, :, 5], encoder(torch.full_like(x, torch.nan))[:, :, 5])


@pytest.mark.parametrize(("kernel_size", "depth", "trend_kernels"), [(3, 2, (1, 8)), (2, 3, (20, 4)), (3, 3, (128,))])
def test_the_receptive_field_is_exact(kernel_size, depth, trend_kernels):
    encoder = small(kernel_size=kernel_size, depth=depth, trend_kernels=trend_kernels).double().eval()
    reach = encoder.receptive_field
    x = torch.randn(1, 3, reach + 20, dtype=torch.float64)
    with torch.no_grad():
        z = encoder(x)[:, :, -1]
        for distance, seen in ((reach, False), (reach - 1, True)):
            other = x.clone()
            other[:, :, -1 - distance] += 10.0
            assert ((encoder(other)[:, :, -1] - z).abs().max() > 1e-10) == seen
            assert seen or torch.allclose(encoder(other)[:, :, -1], z, atol=1e-13)


def test_known_receptive_fields():
    assert small(depth=3, trend_kernels=(1, 128)).receptive_field == 2 * 2 * (1 + 2 + 4 + 8) + 128
    assert CausalConvEncoder(1, dim=2, hidden=2).receptive_field == 2 * 2 * 2047 + 128
    assert CausalConvEncoder.causal
    assert not DilatedConvEncoder.causal
    with pytest.raises(NotImplementedError, match="Encoder must define receptive_field"):
        Encoder(3).receptive_field  # noqa: B018


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("step", [0, 1, 30, 89])
def test_one_pass_hides_every_step_from_its_own_row(step, missing):
    encoder = small(trend_kernels=(1, 2, 32)).double().eval()
    x = torch.randn(2, 3, 90, dtype=torch.float64)
    mask = torch.rand(2, 90) > 0.1
    if missing:
        x[:, 1, 20:31] = torch.nan
    only = mask.clone()
    only[:, step] = False
    with torch.no_grad():
        hidden = encoder.features_last_hidden(x, mask)
        torch.testing.assert_close(hidden[:, :, step], encoder(x, only)[:, :, step])


def test_missing_values_seen_causally():
    x = torch.ones(3, 2, 4)
    x[0, 1] = torch.nan
    x[1, 0, :2] = torch.nan
    x[2, :, 1] = torch.nan
    x[2, 0, 3] = torch.nan
    filled, keep = split_missing(x, causal=True)
    assert keep.tolist() == [[True] * 4, [True] * 4, [True, False, True, False]]
    assert filled[1].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert filled[2].tolist() == [[1, 0, 1, 0], [1, 0, 1, 0]]
    encoder = small(in_channels=2)
    encoder(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_a_hidden_step_does_not_matter():
    encoder = small(in_channels=1)
    x, mask = torch.randn(2, 1, 9), torch.ones(2, 9, dtype=torch.bool)
    mask[:, 4] = False
    other = x.clone()
    other[:, :, 4] += 5
    torch.testing.assert_close(encoder(x, mask), encoder(other, mask))
    torch.testing.assert_close(encoder(x, mask), encoder(x, mask[:, None].expand(2, 4, 9)))
    x[:, :, 4] = torch.nan
    torch.testing.assert_close(encoder(x), encoder(other, mask))


def test_half_precision_is_the_ordinary_convolution():
    encoder = small(trend_kernels=(1, 32)).eval()
    x = torch.randn(2, 3, 50)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        z = encoder(x)
    torch.testing.assert_close(z.float(), encoder(x), atol=0.05, rtol=0.05)


def test_a_pair_that_differs_by_dropout_is_one_pass():
    encoder = small(dropout=0.5)
    view = View(torch.randn(3, 3, 20))
    z1, z2 = encode_pair(encoder, view, view)
    assert not torch.equal(z1, z2)
    kept = (z1 != 0) & (z2 != 0)
    torch.testing.assert_close(z1[kept], z2[kept])


def test_saved_and_loaded_it_is_the_same(tmp_path):
    encoder = small(trend_kernels=(1, 4, 2), dropout=0.3).eval()
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path).eval()
    assert loaded.config() == encoder.config()
    x = torch.randn(2, 3, 10)
    assert torch.equal(loaded(x), encoder(x))


def test_wrong_input_is_refused():
    with pytest.raises(ConfigError, match=r"built for 3 channels and takes \(B, C, T\), got \(1, 2, 5\)"):
        small()(torch.zeros(1, 2, 5))
    with pytest.raises(ConfigError, match="built for 3 channels"):
        small()(torch.zeros(3, 5))
    for wrong in ({"trend_kernels": ()}, {"trend_kernels": (4, 0)}, {"kernel_size": 0}):
        with pytest.raises(ConfigError, match="widths of 1 step or more"):
            small(**wrong)
