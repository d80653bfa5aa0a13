import math

import pytest
import torch
import yaml

from tscl.augmenters import (
    Augmenter,
    Compose,
    Identity,
    Jitter,
    LatentMask,
    OneOf,
    OverlappingCrops,
    Permutation,
    RandomApply,
    Scaling,
    SignFlip,
    TimeFrequency,
    TimeReversal,
    TwoSided,
    WeakStrong,
    WindowSlice,
)
from tscl.augmenters.fixed.frequency import FrequencyAddition, FrequencyMask
from tscl.errors import ConfigError
from tscl.types import View


def ramps(n=400, steps=10):
    return torch.arange(1.0, 1 + steps).expand(n, 2, steps).contiguous()


def test_random_apply_augments_its_share_of_the_windows():
    torch.manual_seed(0)
    x = ramps()
    made = RandomApply(SignFlip(1.0), p=0.3)(View(x)).x
    flipped = (made == -x).all((1, 2))
    assert (flipped | (made == x).all((1, 2))).all()
    assert 0.25 < flipped.float().mean() < 0.35
    assert torch.equal(RandomApply(SignFlip(1.0), p=1.0)(View(x)).x, -x)
    assert torch.equal(RandomApply(SignFlip(1.0), p=0.0)(View(x)).x, x)


def test_one_of_draws_by_weight_for_every_window_and_either_side():
    torch.manual_seed(0)
    x = ramps()
    one = OneOf([SignFlip(1.0), TimeReversal(1.0), Identity()], weights=[1, 3, 0])
    first, second = one.pair(View(x), View(x))
    sides = []
    for view in (first, second):
        flipped, back = (view.x == -x).all((1, 2)), (view.x == x.flip(2)).all((1, 2))
        assert (flipped ^ back).all()
        assert 0.2 < flipped.float().mean() < 0.3
        sides.append(flipped)
    both = (sides[0] & sides[1]).float().mean()
    assert 0.03 < both < 0.1


def test_masks_are_drawn_a_window_at_a_time_too():
    torch.manual_seed(0)
    view = View(ramps(), kept=torch.full((400, 10), 0.5))
    made = RandomApply(LatentMask("last"), 0.5)(view)
    assert made.x is view.x
    assert made.kept is view.kept
    assert made.mask.dtype == torch.bool
    assert made.mask[:, :-1].all()
    assert 0.4 < made.mask[:, -1].float().mean() < 0.6
    channels = OneOf([LatentMask("last"), LatentMask("channel_binomial", p=0.0, channels=3)])(view).mask
    assert channels.shape == (400, 3, 10)
    share = channels[:, :, 0].float()
    assert set(share.mean(1).tolist()) == {0.0, 1.0}
    assert (channels[:, :, -1] == 0).all()


def test_a_pair_goes_through_random_apply_as_a_pair():
    torch.manual_seed(0)
    x = ramps()
    first, second = RandomApply(TwoSided(SignFlip(1.0), TimeReversal(1.0)), 0.5).pair(View(x), View(x))
    changed = (first.x == -x).all((1, 2)), (second.x == x.flip(2)).all((1, 2))
    assert ((first.x == x).all((1, 2)) ^ changed[0]).all()
    assert ((second.x == x).all((1, 2)) ^ changed[1]).all()
    assert 0.2 < (changed[0] & changed[1]).float().mean() < 0.3


@pytest.mark.parametrize("cutting", [OverlappingCrops(), WindowSlice(0.5)])
def test_windows_of_different_crops_are_not_mixed(cutting):
    view = View(ramps(4, 50))
    for combined in (RandomApply(cutting), OneOf([Identity(), cutting])):
        with pytest.raises(ConfigError, match="keep it out of OneOf and RandomApply"):
            combined.pair(view, view)


def test_crops_after_a_random_augmenter_share_their_stretch():
    torch.manual_seed(0)
    view = View(ramps(5, 50))
    first, second = Compose([RandomApply(Permutation(), 0.0), OverlappingCrops()]).pair(view, view)
    assert torch.equal(*(v.x[:, :, v.span[0] : v.span[1]] for v in (first, second)))


def test_crops_keep_what_a_learned_augmenter_noted_and_refuse_a_mask():
    kept = torch.rand(4, 50)
    first, second = OverlappingCrops().pair(View(ramps(4, 50)), View(ramps(4, 50), kept=kept))
    assert first.kept is None
    assert second.kept is kept
    with pytest.raises(ConfigError, match="put LatentMask after"):
        Compose([LatentMask(), OverlappingCrops()]).pair(View(ramps(4, 50)), View(ramps(4, 50)))


def test_two_sided_makes_the_sides_differently():
    x = ramps()
    both = TwoSided(SignFlip(1.0), TimeReversal(1.0))
    first, second = both.pair(View(x), View(x))
    assert torch.equal(first.x, -x)
    assert torch.equal(second.x, x.flip(2))
    assert torch.equal(both(View(x)).x, -x)


def test_weak_strong_is_scaled_and_jittered_against_permuted_and_jittered():
    x = torch.randn(20, 2, 60)
    quiet = WeakStrong(scaling=0.3, weak_jitter=0.0, max_segments=6, strong_jitter=0.0)
    torch.manual_seed(0)
    weak, strong = quiet.pair(View(x), View(x))
    ratio = weak.x / x
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(x))
    assert ratio[:, 0, 0].std() > 0.1
    assert torch.equal(strong.x.sort(dim=2).values, x.sort(dim=2).values)
    assert not torch.equal(strong.x, x)
    noisy = WeakStrong(scaling=0.0, weak_jitter=0.1, strong_jitter=0.5).pair(View(x), View(x))
    assert 0.09 < (noisy[0].x - x).std() < 0.11
    torch.manual_seed(0)
    expected = Compose([Scaling(0.3), Jitter(0.0)])(View(x))
    torch.testing.assert_close(weak.x, expected.x)


def test_time_frequency_changes_amplitude_against_spectrum():
    x = torch.randn(50, 2, 64)
    time, frequency = TimeFrequency(scaling=0.0, jitter=0.2, removed=0.2, added=0.0).pair(View(x), View(x))
    assert 0.19 < (time.x - x).std() < 0.21
    before, after = torch.fft.rfft(x).abs(), torch.fft.rfft(frequency.x).abs()
    removed = after < 1e-4
    assert 0.15 < removed[:, :, 1:].float().mean() < 0.25
    torch.testing.assert_close(after[~removed], before[~removed], rtol=1e-4, atol=1e-4)
    second = TimeFrequency(added=0.3, level=0.7).second
    assert [type(one) for one in second.augmenters] == [FrequencyMask, FrequencyAddition]
    assert (second.augmenters[1].p, second.augmenters[1].level) == (0.3, 0.7)


def test_a_configuration_file_builds_them():
    from jsonargparse import ArgumentParser

    text = """
    class_path: tscl.augmenters.Compose
    init_args:
      augmenters:
        - class_path: tscl.augmenters.OneOf
          init_args:
            weights: [2, 1]
            augmenters:
              - {class_path: tscl.augmenters.TimeWarp, init_args: {sigma: 0.3, knots: 3}}
              - {class_path: tscl.augmenters.BandStop, init_args: {sfreq: 128, width: 4.0}}
        - class_path: tscl.augmenters.RandomApply
          init_args: {p: 0.2, augmenter: {class_path: tscl.augmenters.CutOut, init_args: {value: .nan}}}
        - tscl.augmenters.WeakStrong
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Augmenter, "augmenter")
    made = parser.instantiate_classes(parser.parse_object({"augmenter": yaml.safe_load(text)})).augmenter
    assert [type(one).__name__ for one in made.augmenters] == ["OneOf", "RandomApply", "WeakStrong"]
    assert made.augmenters[0].weights == [2, 1]
    assert math.isnan(made.augmenters[1].augmenter.value)
    view = View(ramps(4, 50))
    assert [one.x.shape for one in made.pair(view, view)] == [(4, 2, 50)] * 2
