import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.augmenters import Permutation, RandomCropResize, TimeReversal, TimeWarp, WindowSlice, WindowWarp
from tscl.augmenters.fixed.moving import MovingAugmenter, resample
from tscl.types import View


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clock(n=200, steps=41):
    """Windows whose value is the time step, so that a view says where each of its steps is from."""
    return torch.arange(float(steps)).expand(n, 2, steps).contiguous()


def slow_resample(x, place, lengths):
    made = torch.empty_like(x)
    for b in range(len(x)):
        for c in range(x.shape[1]):
            for t in range(x.shape[2]):
                last = int(lengths[b]) - 1
                at = min(max(float(place[b, t]), 0.0), last) if t <= last else t
                left = math.floor(at)
                share = at - left
                near, far = (left, left + 1) if share < 0.5 else (left + 1, left)
                weight = min(share, 1 - share)
                value = float(x[b, c, near])
                if weight > 0 and not math.isnan(float(x[b, c, far])):
                    value = (1 - weight) * value + weight * float(x[b, c, far])
                made[b, c, t] = value
    return made


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 12), missing=st.sampled_from([0.0, 0.3, 0.8]), seed=st.integers(0, 1000))
def test_resampling_equals_a_loop(steps, missing, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2, steps, generator=generator)
    x[torch.rand(x.shape, generator=generator) < missing] = torch.nan
    place = (steps + 2) * torch.rand(3, steps, generator=generator) - 1
    place[0] = place[0].round()
    lengths = torch.randint(1, steps + 1, (3,), generator=generator)
    torch.testing.assert_close(resample(x, place, lengths), slow_resample(x, place, lengths), equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(steps=st.integers(1, 40), most=st.integers(2, 9), padding=st.integers(0, 5), seed=st.integers(0, 1000))
def test_permutation_puts_whole_segments_together(steps, most, padding, seed):
    torch.manual_seed(seed)
    x = clock(8, steps + padding)
    x[:, :, steps:] = torch.nan
    made = Permutation(most)(View(x)).x
    assert torch.equal(made[:, 0, :steps], made[:, 1, :steps])
    assert torch.equal(made[:, 0, :steps].sort(dim=1).values, x[:, 0, :steps])
    breaks = (made[:, 0, :steps].diff(dim=1) != 1).sum(1)
    assert (breaks <= most - 1).all()
    assert made[:, :, steps:].isnan().all()


def test_permutation_cuts_in_two_to_max_segments_of_any_length():
    made = Permutation(4)(View(clock(2000, 30))).x[:, 0]
    jumps = made.diff(dim=1) != 1
    assert set(jumps.sum(1).tolist()) == {0, 1, 2, 3}
    two = Permutation(2)(View(clock(2000, 30))).x[:, 0]
    swapped = two[two[:, 0] != 0]
    assert 0.45 < len(swapped) / 2000 < 0.55
    assert set(swapped[:, 0].tolist()) == set(range(1, 30))


def test_time_reversal_runs_backwards_before_the_padding():
    x = clock(400, 10)
    x[:200, :, 7:] = torch.nan
    made = TimeReversal(0.5)(View(x)).x
    back = made[:, 0, 0] > 0
    assert 0.4 < back.float().mean() < 0.6
    assert torch.equal(made[200:][back[200:]], x[200:][back[200:]].flip(2))
    assert (made[:200][back[:200]][:, :, :7] == torch.arange(6.0, -1, -1)).all()
    assert made[:200, :, 7:].isnan().all()
    assert torch.equal(made[~back].nan_to_num(), x[~back].nan_to_num())


@pytest.mark.parametrize("warp", [TimeWarp(0.8), WindowWarp(0.4, 3.0)])
def test_warped_time_never_runs_backwards_and_keeps_its_ends(warp):
    made = warp(View(clock())).x
    assert torch.equal(made[:, 0], made[:, 1])
    assert (made.diff(dim=2) >= 0).all()
    torch.testing.assert_close(made[:, :, 0], torch.zeros(200, 2))
    torch.testing.assert_close(made[:, :, -1], torch.full((200, 2), 40.0))
    assert (made - clock()).abs().max() > 2


def test_time_warp_without_strength_changes_nothing_and_its_speed_has_its_sigma():
    x = torch.randn(4, 2, 50)
    torch.testing.assert_close(TimeWarp(0.0)(View(x)).x, x, rtol=1e-4, atol=1e-4)
    speed = TimeWarp(0.3, knots=2)(View(clock(2000, 301))).x[:, 0].diff(dim=1).log()
    knots = speed[:, [0, 99, 199, 299]]
    assert 0.2 < (knots - knots.mean(1, keepdim=True)).std() < 0.32


def test_window_warp_is_three_straight_pieces():
    made = WindowWarp(0.25, 2.0)(View(clock(300, 401))).x[:, 0]
    speed = made.diff(dim=1)
    slow = speed.median(dim=1).values < 1.1  # a stretch that becomes shorter leaves time for the rest to slow down
    for row, sped_up in zip(speed, slow, strict=True):
        whole = (400 - 100 + (50 if sped_up else 200)) / 400
        inside = whole * 2 if sped_up else whole / 2
        near = (row - whole).abs() < 1e-3
        warped = (row - inside).abs() < 1e-3
        assert (near | warped).sum() >= 398
        assert abs(float(warped.sum()) * inside - 100) < 3
    assert 0.4 < (made[:, -100:].diff(dim=1).mean(1) < 1).float().mean() < 0.6


def test_window_warp_draws_either_way_equally_often():
    speed = WindowWarp(0.25, 2.0)(View(clock(600, 401))).x[:, 0].diff(dim=1).median(dim=1).values
    longer, shorter = (speed - 1.25).abs() < 1e-3, (speed - 0.875).abs() < 1e-3
    assert (longer ^ shorter).all()
    assert 0.43 < longer.float().mean() < 0.57
    torch.testing.assert_close(WindowWarp(0.25, 1.0)(View(clock())).x, clock())


def test_crop_and_resize_is_a_straight_piece_of_its_length():
    made = RandomCropResize(0.4)(View(clock(2000))).x[:, 0]
    length = (made[:, -1] - made[:, 0]) / 40
    line = made[:, :1] + length[:, None] * torch.arange(41.0)
    torch.testing.assert_close(made, line, rtol=1e-4, atol=1e-4)
    assert 0.4 <= length.min() < 0.42
    assert 0.98 < length.max() <= 1.0001
    assert 0.68 < length.mean() < 0.72
    assert made.min() >= 0
    assert made.max() <= 40
    assert abs(made[:, 0].mean() + made[:, -1].mean() - 40) < 0.6
    torch.testing.assert_close(RandomCropResize(1.0)(View(clock())).x, clock())


def test_window_slice_is_shorter_and_from_anywhere():
    made = WindowSlice(0.5)(View(clock(500, 20))).x
    assert made.shape == (500, 2, 10)
    assert (made.diff(dim=2) == 1).all()
    assert set(made[:, 0, 0].tolist()) == set(range(11))
    assert WindowSlice(0.0)(View(clock(3, 20))).x.shape == (3, 2, 1)
    assert torch.equal(WindowSlice(1.0)(View(clock(3, 20))).x, clock(3, 20))
    padded = clock(500, 20)
    padded[:, :, 12:] = torch.nan
    padded[:250, :, 5:] = torch.nan
    made = WindowSlice(0.5)(View(padded)).x
    assert set(made[250:, 0, 0].tolist()) == {0, 1, 2}
    assert (made[:250, 0, 0] == 0).all()
    assert not made[250:].isnan().any()


def test_a_gap_moves_with_the_signal():
    x = clock(100)
    x[:, 0, 10:20] = torch.nan
    for augmenter in (TimeWarp(0.5), WindowWarp(0.5), RandomCropResize(), Permutation(), TimeReversal()):
        made = augmenter(View(x)).x
        source = made[:, 1]
        clear = ((source - 9.5).abs() > 1e-3) & ((source - 19.5).abs() > 1e-3)
        assert torch.equal(made[:, 0].isnan()[clear], ((source > 9.5) & (source < 19.5))[clear])
        assert made[:, 0].isnan().any()


def test_a_subclass_says_how_it_moves():
    with pytest.raises(NotImplementedError, match="must define move"):
        MovingAugmenter()(View(clock()))
