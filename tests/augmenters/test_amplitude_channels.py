import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.augmenters import (
    ChannelDropout,
    ChannelScaling,
    ChannelShuffle,
    CutOut,
    Jitter,
    MagnitudeWarp,
    Mixup,
    Scaling,
    SignFlip,
)
from tscl.augmenters.fixed.curves import filled_lengths, random_stretch, smooth_curve
from tscl.types import View


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def ones(n=300, channels=4, steps=20):
    return torch.ones(n, channels, steps)


def test_jitter_is_white_noise_of_its_sigma():
    noise = Jitter(0.5)(View(ones())).x - 1
    assert 0.49 < noise.std() < 0.51
    assert abs((noise[:, :, 1:] * noise[:, :, :-1]).mean()) < 0.01


def test_scaling_is_one_factor_a_window_and_channel_scaling_one_a_channel():
    whole, single = Scaling(0.5)(View(ones())).x, ChannelScaling(0.5)(View(ones())).x
    assert (whole == whole[:, :1, :1]).all()
    assert (single == single[:, :, :1]).all()
    assert len(whole[:, 0, 0].unique()) == 300
    assert len(single[:, :, 0].unique()) == 1200
    for factor in (whole[:, 0, 0], single[:, :, 0]):
        assert 0.42 < factor.std() < 0.58
        assert 0.9 < factor.mean() < 1.1


def test_a_smooth_curve_passes_its_knots_and_follows_a_line():
    knots = torch.tensor([[0.0, 2.0, -1.0, 3.0, 3.0]])
    torch.testing.assert_close(smooth_curve(knots, 41)[:, ::10], knots)
    line = torch.arange(5.0)
    torch.testing.assert_close(smooth_curve(line, 33), torch.linspace(0, 4, 33))
    slope = smooth_curve(knots.double(), 4001).diff(dim=1) * 1000
    assert slope.diff(dim=1).abs().max() < 0.05
    # Between two knots, the cubic Hermite polynomial with central differences as slopes.
    t, start, stop = 0.3, (-1 - 0) / 2, (3 - 2) / 2
    by_hand = (
        2 * (2 * t**3 - 3 * t**2 + 1) + start * (t**3 - 2 * t**2 + t) - (-2 * t**3 + 3 * t**2) + stop * (t**3 - t**2)
    )
    assert abs(float(smooth_curve(knots, 41)[0, 13]) - by_hand) < 1e-5


def test_magnitude_warp_is_a_smooth_factor_of_every_channel():
    x = ones(50, 2, 101)
    factor = MagnitudeWarp(0.3, knots=3)(View(x)).x
    knots = factor[:, :, ::25]
    assert 0.24 < knots.std() < 0.36
    torch.testing.assert_close(smooth_curve(knots, 101), factor)
    assert len(knots[:, :, 0].unique()) == 100


def test_sign_flip_is_of_whole_windows():
    made = SignFlip(0.3)(View(ones())).x
    assert (made == made[:, :1, :1]).all()
    assert set(made.unique().tolist()) == {-1.0, 1.0}
    assert 0.2 < (made[:, 0, 0] < 0).float().mean() < 0.4


def test_cut_out_writes_one_stretch_and_keeps_missing_values():
    x = ones()
    x[:, 0, 10] = torch.nan
    made = CutOut(0.25, value=-3.0)(View(x)).x
    cut = made[:, 1] == -3
    assert (cut.sum(1) == 5).all()
    assert (cut.int().diff(dim=1).abs().sum(1) <= 2).all()
    assert torch.equal(made.isnan(), x.isnan())
    starts = cut.float().argmax(1)
    assert set(starts.tolist()) == set(range(16))
    hidden = CutOut(0.25, value=float("nan"))(View(ones())).x
    assert (hidden.isnan().sum(2) == 5).all()


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 30), length=st.integers(0, 30), share=st.floats(0, 1))
def test_a_random_stretch_lies_before_the_padding(steps, length, share):
    x = torch.ones(5, 2, steps)
    length = min(length, steps)
    x[:, :, length:] = torch.nan
    assert filled_lengths(x).tolist() == [max(length, 1)] * 5
    inside = random_stretch(x, share)
    expected = max(int(torch.tensor(share) * max(length, 1)), 1)
    assert (inside.sum(1) == expected).all()
    assert not inside[:, max(length, 1) :].any()


def test_the_length_of_a_window_is_up_to_its_last_value():
    x = torch.full((3, 2, 6), torch.nan)
    x[0, 1, 3] = 0
    x[1, 0, 5] = 0
    assert filled_lengths(x).tolist() == [4, 6, 1]


def test_channel_dropout_keeps_at_least_one_channel():
    x = ones()
    x[:, 0, 3] = torch.nan
    made = ChannelDropout(0.4)(View(x)).x
    assert torch.equal(made.isnan(), x.isnan())
    dropped = made[:, :, 0] == 0
    assert ((made[:, :, 5:] == 0) == dropped[:, :, None]).all()
    assert 0.33 < dropped.float().mean() < 0.45
    all_but_one = ChannelDropout(1.0)(View(ones())).x[:, :, 0]
    assert (all_but_one.sum(1) == 1).all()
    assert (all_but_one.mean(0) > 0.1).all()
    assert torch.equal(ChannelDropout(1.0)(View(ones(3, 1))).x, ones(3, 1))


def test_channel_shuffle_permutes_those_that_take_part():
    x = torch.arange(4.0)[None, :, None].expand(500, 4, 3).clone()
    x[:, 2, 1] = torch.nan
    order = ChannelShuffle(0.5)(View(x)).x
    assert torch.equal(order[:, :, 1].isnan(), order[:, :, 0] == 2)
    number = order[:, :, 0]
    assert torch.equal(number.sort(dim=1).values, torch.arange(4.0).expand(500, 4))
    moved = (number != torch.arange(4.0)).float().mean()
    # A channel takes part with probability 1/2; of m that do, each stays with probability 1/m.
    assert abs(moved - (0.5 - (1 - 0.5**4) / 4)) < 0.05
    assert torch.equal(ChannelShuffle(0.0)(View(x)).x.nan_to_num(), x.nan_to_num())
    everything = ChannelShuffle(1.0)(View(x)).x[:, :, 0]
    assert len(everything.unique(dim=0)) == 24


def test_mixup_adds_some_of_another_window():
    n = 200
    x = torch.eye(n)[:, None].repeat(1, 2, 1)
    made = Mixup(0.7)(View(x)).x
    assert torch.equal(made[:, 0], made[:, 1])
    own = made[:, 0].diagonal()
    other = made[:, 0] - torch.diag(own)
    assert own.min() >= 0.7
    assert 0.83 < own.mean() < 0.87
    torch.testing.assert_close(other.sum(1), 1 - own)
    assert ((other > 0).sum(1) == 1).all()
    assert len(other.argmax(1).unique()) > n / 2


def test_mixup_with_missing_values_and_without_company():
    x = torch.stack([torch.zeros(1, 4), torch.ones(1, 4)])
    x[0, 0, 0] = torch.nan
    made = Mixup(0.5)(View(x)).x
    assert made[0, 0, 0].isnan()
    assert made[1, 0, 0] == 1
    assert 0 < made[0, 0, 1] < 0.5
    assert 0.5 < made[1, 0, 1] < 1
    assert torch.equal(Mixup(0.0)(View(x[1:])).x, x[1:])
