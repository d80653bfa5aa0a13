import itertools
import math
from functools import partial

import pytest
import torch

from tscl.encoders import BrainConv, SpatialAttention, SubjectLayer, load_encoder, save_encoder
from tscl.errors import ConfigError
from tscl.types import Sensors

NAN = torch.nan


def small(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"in_channels": 7, "dim": 5, "n_subjects": 3, "virtual": 6, "hidden": 8, "depth": 2, "n_frequencies": 4}
    encoder = BrainConv(**sizes | changes)
    with torch.no_grad():
        for layer in encoder.modules():
            if isinstance(layer, torch.nn.BatchNorm1d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
        if encoder.subjects is not None:
            encoder.subjects.matrices.add_(torch.randn_like(encoder.subjects.matrices))
    return encoder.eval()


def windows(n=3, channels=7, steps=20, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, steps, generator=generator)
    return x, Sensors(torch.rand(n, channels, 2, generator=generator), torch.arange(n) % 3)


def series(layer, place):
    """The Fourier series at one place, term by term, for every virtual channel."""
    n = len(layer.frequencies)
    x, y = ((float(one) + 0.1) / 1.2 for one in place)
    values = torch.zeros(len(layer.coefficients), dtype=torch.float64)
    for number, (k, m) in enumerate(itertools.product(range(n), repeat=2)):
        angle = 2 * math.pi * (k * x + m * y)
        real, imaginary = layer.coefficients[:, number], layer.coefficients[:, n * n + number]
        values += real.double() * math.cos(angle) + imaginary.double() * math.sin(angle)
    return values


def test_scores_are_a_fourier_series_of_the_place():
    torch.manual_seed(0)
    layer = SpatialAttention(4, n_frequencies=5)
    positions = torch.rand(2, 3, 2)
    positions[1, 2] = torch.tensor([NAN, 0.5])
    scores = layer.scores(positions)
    assert scores.shape == (2, 4, 3)
    for window, sensor in itertools.product(range(2), range(3)):
        if (window, sensor) == (1, 2):
            assert (scores[1, :, 2] == -torch.inf).all()
        else:
            expected = series(layer, positions[window, sensor]).float()
            torch.testing.assert_close(scores[window, :, sensor], expected, atol=1e-5, rtol=1e-5)


def test_opposite_edges_are_not_neighbours():
    layer = SpatialAttention(8, n_frequencies=6)
    left, right = layer.scores(torch.tensor([[[0.0, 0.5], [1.0, 0.5]]]))[0].T
    assert (left - right).abs().max() > 0.1


def test_weights_are_the_softmax_over_sensors_that_are_there():
    layer = SpatialAttention(4, n_frequencies=5).eval()
    positions = torch.rand(3, 6, 2)
    positions[0, 1] = NAN
    positions[2] = NAN
    present = torch.ones(3, 6, dtype=torch.bool)
    present[0, 4] = False
    weights = layer.weights(positions, present)
    there = [0, 2, 3, 5]
    torch.testing.assert_close(weights[0][:, there], layer.scores(positions)[0][:, there].softmax(1))
    assert (weights[0][:, [1, 4]] == 0).all()
    torch.testing.assert_close(weights[:2].sum(2), torch.ones(2, 4))
    assert (weights[2] == 0).all()


def test_windows_with_the_same_sensors_in_any_mixture_get_their_own_weights():
    layer = SpatialAttention(4, n_frequencies=5).eval()
    layouts = torch.rand(2, 6, 2)
    layouts[1, 5] = NAN
    which = torch.tensor([1, 0, 0, 1, 0])
    alone = torch.cat([layer.weights(layouts[i : i + 1]) for i in which.tolist()])
    torch.testing.assert_close(layer.weights(layouts[which]), alone)


def test_spatial_dropout_leaves_out_just_the_sensors_near_a_point():
    layer = SpatialAttention(2, n_frequencies=3, dropout=0.3)
    positions = torch.rand(40, 12, 2)
    torch.manual_seed(5)
    point = torch.rand(40, 1, 2)
    near = ((positions - point) ** 2).sum(2).sqrt() <= 0.3
    assert near.any()
    assert not near.all(1).any()
    torch.manual_seed(5)
    weights = layer.train().weights(positions)
    assert torch.equal(weights == 0, near[:, None].expand(-1, 2, -1))
    torch.testing.assert_close(weights.sum(2), torch.ones(40, 2))
    assert (layer.eval().weights(positions) > 0).all()


def test_spatial_dropout_never_leaves_out_all():
    layer = SpatialAttention(2, n_frequencies=3, dropout=2.0)
    positions = torch.rand(5, 6, 2)
    torch.testing.assert_close(layer.train().weights(positions), layer.eval().weights(positions))


def test_an_unseen_subject_goes_through_the_mean_of_the_matrices():
    layer = SubjectLayer(3, 4)
    x = torch.randn(5, 4, 9)
    assert torch.equal(layer(x, torch.tensor([0, 1, 2, 1, -1])), x)
    layer.matrices.data.normal_()
    out = layer(x, torch.tensor([2, 0, -1, 1, -1]))
    torch.testing.assert_close(out[0], layer.matrices[2] @ x[0])
    torch.testing.assert_close(out[3], layer.matrices[1] @ x[3])
    mean = sum(layer.matrices[i] for i in range(3)) / 3
    torch.testing.assert_close(out[2], mean @ x[2])
    torch.testing.assert_close(out[4], mean @ x[4])


def test_a_new_subject_starts_at_the_mean():
    layer = SubjectLayer(3, 4)
    layer.matrices.data.normal_()
    before = layer.matrices.detach().clone()
    assert layer.add_subject() == 3
    torch.testing.assert_close(layer.matrices, torch.cat([before, before.mean(0, keepdim=True)]))
    assert layer.matrices.requires_grad


def test_the_default_is_the_paper_s():
    encoder = BrainConv(in_channels=208, dim=1024, n_subjects=27)
    dilations = [conv.dilation[0] for block in encoder.blocks for conv in block.convs]
    assert dilations == [1, 2, 4, 8, 16, 1, 2, 4, 8, 16]
    norms, gate, inner = 4 * 320, 3 * 320 * 640 + 640, 3 * 320 * 320 + 320
    first, other = 3 * 270 * 320 + 320 + inner + norms + gate, 2 * inner + norms + gate
    ends = 270 * 2 * 32 * 32 + (270 * 270 + 270) + 27 * 270 * 270 + (320 * 640 + 640) + (640 * 1024 + 1024)
    assert sum(one.numel() for one in encoder.parameters()) == first + 4 * other + ends == 9_565_054


@pytest.mark.parametrize("steps", [1, 2, 37])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_length_stays_the_same(steps, kernel_size):
    x, sensors = windows(steps=steps)
    assert small(kernel_size=kernel_size, depth=3)(x, sensors=sensors).shape == (3, 5, steps)


def test_it_is_what_its_parts_are():
    encoder = small()
    x, sensors = windows()
    weights = encoder.attention.weights(sensors.positions)
    h = torch.stack([encoder.stem(w @ signal) for w, signal in zip(weights, x, strict=True)])
    h = torch.stack([encoder.subjects.matrices[i] @ one for i, one in zip(sensors.subject, h, strict=True)])
    for number, block in enumerate(encoder.blocks):
        for place, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True)):
            y = torch.nn.functional.gelu(norm(conv(h)))
            h = y if (number, place) == (0, 0) else h + y
        value, gate = block.gate(h).chunk(2, dim=1)
        h = value * torch.sigmoid(gate)
    torch.testing.assert_close(encoder(x, sensors=sensors), encoder.out(h))


def test_a_sensor_without_signal_counts_as_not_there():
    encoder = small()
    x, sensors = windows()
    kept = [0, 1, 2, 4, 5, 6]
    expected = encoder(x[:, kept], sensors=Sensors(sensors.positions[:, kept], sensors.subject))
    silent, placeless = x.clone(), sensors.positions.clone()
    silent[:, 3] = NAN
    placeless[:, 3] = NAN
    torch.testing.assert_close(encoder(silent, sensors=sensors), expected)
    torch.testing.assert_close(encoder(x, sensors=Sensors(placeless, sensors.subject)), expected)
    assert (encoder(x, sensors=sensors) - expected).abs().max() > 1e-3


def test_the_order_of_sensors_does_not_matter():
    encoder = small()
    x, sensors = windows()
    order = torch.randperm(7)
    shuffled = encoder(x[:, order], sensors=Sensors(sensors.positions[:, order], sensors.subject))
    torch.testing.assert_close(shuffled, encoder(x, sensors=sensors))


def padded(x, positions, channels):
    more = (0, 0, 0, channels - x.shape[1])
    return (torch.nn.functional.pad(one, more, value=NAN) for one in (x, positions))


def test_padding_a_montage_changes_nothing():
    encoder = small()
    x, sensors = windows()
    wide, places = padded(x, sensors.positions, 12)
    torch.testing.assert_close(
        encoder(wide, sensors=Sensors(places, sensors.subject)), encoder(x, sensors=sensors), atol=1e-6, rtol=0
    )


def test_mixed_montages_in_one_batch_equal_each_window_alone():
    encoder = small()
    parts = [windows(n=1, channels=c, seed=c) for c in (4, 7, 5, 7)]
    subject = torch.tensor([0, 2, -1, 1])
    alone = [encoder(x, sensors=Sensors(s.positions, subject[[i]])) for i, (x, s) in enumerate(parts)]
    joined = [torch.cat(one) for one in zip(*(padded(x, s.positions, 7) for x, s in parts), strict=True)]
    together = encoder(joined[0], sensors=Sensors(joined[1], subject))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_missing_values_reach_neither_the_output_nor_the_gradients(training, attention):
    encoder = small(attention=attention).train(training)
    x, sensors = windows()
    x[0, 2, 3:9] = NAN
    x[1] = NAN
    x[2, 4] = NAN
    sensors.positions[0, 5] = NAN
    out = encoder(x, sensors=sensors)
    assert torch.isfinite(out).all()
    out.square().sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in encoder.parameters() if one.grad is not None)
    zeros = x.clone()
    zeros[0, 2, 3:9] = 0
    if not training:
        torch.testing.assert_close(encoder(zeros, sensors=sensors)[0], out[0])


def test_a_latent_mask_hides_time_steps():
    encoder = small(kernel_size=1)
    x, sensors = windows()
    mask = torch.arange(20).expand(3, -1) < 12
    changed = x.clone()
    changed[:, :, 12:] += 5
    first, second = (encoder(one, mask, sensors) for one in (x, changed))
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first[:, :, :12], encoder(x, sensors=sensors)[:, :, :12])
    latent = mask[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(encoder(x, latent, sensors), first)


def test_without_attention_and_without_subject_layer():
    x, sensors = windows()
    encoder = small(attention=False)
    torch.testing.assert_close(
        encoder(x), encoder(x, sensors=Sensors(sensors.positions, torch.full((3,), -1))), atol=1e-6, rtol=1e-5
    )
    assert (encoder(x, sensors=sensors) - encoder(x)).abs().max() > 1e-3
    encoder = small(subject_layer=False)
    other = Sensors(sensors.positions, torch.tensor([2, -1, 0]))
    torch.testing.assert_close(encoder(x, sensors=sensors), encoder(x, sensors=other))
    with pytest.raises(ConfigError, match="has no subject layer"):
        encoder.add_subject()
    with pytest.raises(ConfigError, match="needs sensor positions: pass sensors, or use attention=False"):
        encoder(x)
    with pytest.raises(ConfigError, match="kernel_size is 4: use an odd number"):
        small(kernel_size=4)


@pytest.mark.parametrize("changes", [{}, {"attention": False, "kernel_size": 5}, {"subject_layer": False}], ids=str)
def test_it_comes_back_from_disk(tmp_path, changes):
    encoder = small(**changes)
    x, sensors = windows()
    if encoder.subjects is not None:
        assert encoder.add_subject() == 3
        encoder.subjects.matrices.data[3] += 1
        sensors = Sensors(sensors.positions, torch.tensor([3, 0, -1]))
    save_encoder(encoder, tmp_path)
    again = load_encoder(tmp_path).eval()
    assert again.config() == encoder.config()
    assert torch.equal(again(x, sensors=sensors), encoder(x, sensors=sensors))


def test_bf16_stays_near_single_precision():
    encoder = small(depth=1)
    x, sensors = windows()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder(x, sensors=sensors)
    torch.testing.assert_close(half.float(), encoder(x, sensors=sensors), atol=0.1, rtol=0.1)


def test_a_factory_takes_the_three_numbers_of_the_data():
    build = partial(BrainConv, virtual=4, hidden=4, depth=1, n_frequencies=2)
    assert build(9, 3, 2).config() == build(in_channels=9, dim=3, n_subjects=2).config()
