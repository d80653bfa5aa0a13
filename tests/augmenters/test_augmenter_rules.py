"""What every augmenter without parameters has to keep to."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tscl.augmenters
from tscl.augmenters import (
    Augmenter,
    BandStop,
    ChannelDropout,
    ChannelScaling,
    ChannelShuffle,
    Compose,
    CutOut,
    FrequencyAddition,
    FrequencyMask,
    FrequencyShift,
    FTSurrogate,
    Identity,
    Jitter,
    LatentMask,
    MagnitudeWarp,
    Mixup,
    OneOf,
    OverlappingCrops,
    Permutation,
    RandomApply,
    RandomCropResize,
    Scaling,
    SignFlip,
    TimeFrequency,
    TimeReversal,
    TimeWarp,
    TwoSided,
    WeakStrong,
    WindowSlice,
    WindowWarp,
)
from tscl.errors import ConfigError
from tscl.types import View

IN_PLACE = [
    Jitter(0.3),
    Scaling(0.3),
    ChannelScaling(0.3),
    MagnitudeWarp(),
    SignFlip(),
    CutOut(),
    ChannelDropout(0.5),
    Mixup(),
    FrequencyMask(0.3),
    FrequencyAddition(0.3),
    FTSurrogate(),
    BandStop(100.0),
    FrequencyShift(100.0),
]
MOVING = [Permutation(), TimeReversal(), TimeWarp(), WindowWarp(), RandomCropResize()]
COMBINED = [
    OneOf([Jitter(0.3), TimeReversal(1.0)]),
    RandomApply(TimeWarp()),
    TwoSided(Jitter(), Scaling()),
    WeakStrong(),
    TimeFrequency(),
]
SAME_LENGTH = [*IN_PLACE, *MOVING, ChannelShuffle(0.9), *COMBINED]
ALL = [*SAME_LENGTH, WindowSlice()]


def label(value):
    return type(value).__name__


def signals(n=6, channels=3, steps=64, seed=0, missing=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, steps, generator=generator)
    return x.masked_fill(torch.rand(x.shape, generator=generator) < missing, torch.nan)


def apply(augmenter, x, seed=0):
    torch.manual_seed(seed)
    return augmenter(View(x)).x


def test_none_is_left_out():
    public = {getattr(tscl.augmenters, name) for name in tscl.augmenters.__all__}
    fixed = {one for one in public if issubclass(one, Augmenter) and "parametric" not in one.__module__}
    others = {Augmenter, Compose, Identity, LatentMask, OverlappingCrops}
    assert fixed == {type(one) for one in ALL} | others


@pytest.mark.parametrize("augmenter", ALL, ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_type_and_input_stay(augmenter, dtype):
    x = signals(missing=0.05).to(dtype)
    before = x.clone()
    made = apply(augmenter, x)
    assert made.dtype == dtype
    assert made.shape == (6, 3, 58 if isinstance(augmenter, WindowSlice) else 64)
    assert torch.equal(x.nan_to_num(), before.nan_to_num())
    assert torch.equal(x.isnan(), before.isnan())


@pytest.mark.parametrize("augmenter", ALL, ids=label)
def test_a_seed_fixes_the_result_and_windows_differ(augmenter):
    x = signals(1).expand(40, -1, -1).contiguous()
    if isinstance(augmenter, Mixup):
        x = signals(2).repeat(20, 1, 1)
    made = apply(augmenter, x)
    assert torch.equal(made, apply(augmenter, x))
    assert len(made.flatten(1).unique(dim=0)) > 1
    assert not torch.equal(made, apply(augmenter, x, seed=1))


@pytest.mark.parametrize("augmenter", SAME_LENGTH, ids=label)
@settings(deadline=None, max_examples=8)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 3),
    steps=st.integers(1, 30),
    missing=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_shape_works_and_nothing_finite_is_lost(augmenter, n, channels, steps, missing, seed):
    x = signals(n, channels, steps, seed, missing)
    made = apply(augmenter, x, seed)
    assert made.shape == x.shape
    assert not made.isinf().any()
    if type(augmenter) in {type(one) for one in IN_PLACE}:
        assert torch.equal(made.isnan(), x.isnan())
    elif missing == 0:
        assert not made.isnan().any()
    elif missing == 1:
        assert made.isnan().all()


@pytest.mark.parametrize("augmenter", [*MOVING, *IN_PLACE, WindowSlice(0.3)], ids=label)
def test_padding_stays_at_the_end(augmenter):
    x = signals(30)
    x[:, :, 40:] = torch.nan
    made = apply(augmenter, x)
    assert not made[:, :, :40].isnan().any()
    assert made[:, :, 40:].isnan().all()


@pytest.mark.parametrize("augmenter", [*MOVING, WindowSlice()], ids=label)
def test_what_moves_time_refuses_masks_and_crops(augmenter):
    x = signals()
    with pytest.raises(ConfigError, match=f"{label(augmenter)} moves time steps.*put LatentMask after it"):
        Compose([LatentMask(), augmenter])(View(x))
    with pytest.raises(ConfigError, match="put OverlappingCrops after it"):
        augmenter(View(x, span=(0, 10)))
    kept = torch.rand(6, 64)
    assert augmenter(View(x, kept=kept)).kept is kept
    both = Compose([augmenter, LatentMask()])(View(x))
    assert both.mask.shape == (6, both.x.shape[2])


@pytest.mark.parametrize("augmenter", [*IN_PLACE, ChannelShuffle()], ids=label)
def test_what_leaves_time_alone_keeps_masks_and_spans(augmenter):
    view = View(signals(), torch.rand(6, 64) < 0.5, (3, 9), torch.rand(6, 64))
    made = augmenter(view)
    assert made[1:] == view[1:]


@pytest.mark.parametrize("augmenter", [*MOVING, *IN_PLACE, ChannelShuffle(0.9)], ids=label)
def test_nothing_depends_on_the_rest_of_the_batch_but_mixup(augmenter):
    x = signals(3)
    other = torch.cat([x[:1], signals(2, seed=5)])
    alone = torch.equal(apply(augmenter, x)[0], apply(augmenter, other)[0])
    assert alone != isinstance(augmenter, Mixup)


@pytest.mark.parametrize("augmenter", ALL, ids=label)
def test_no_parameters_and_copies_work_alike(augmenter):
    assert not list(augmenter.parameters())
    assert not augmenter.state_dict()
    x = signals()
    assert torch.equal(apply(copy.deepcopy(augmenter), x), apply(augmenter, x))


@pytest.mark.parametrize("augmenter", [one for one in ALL if not isinstance(one, SignFlip | TimeReversal)], ids=label)
def test_gradients_reach_the_signal(augmenter):
    x = signals(4).requires_grad_()
    torch.manual_seed(0)
    augmenter(View(x)).x.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_the_gpu_all_stay_there_in_full_precision():
    x = signals(missing=0.05).cuda()
    for augmenter in ALL:
        with torch.autocast("cuda", torch.bfloat16):
            made = apply(augmenter, x)
        assert made.device == x.device, label(augmenter)
        assert made.dtype == torch.float32, label(augmenter)
        assert torch.equal(made.nan_to_num(), apply(augmenter, x).nan_to_num()), label(augmenter)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Jitter(-1), "Jitter: sigma is -1, it must be at least 0"),
        (lambda: Scaling(float("nan")), "Scaling: sigma is nan"),
        (lambda: ChannelScaling(-1), "ChannelScaling: sigma"),
        (lambda: MagnitudeWarp(knots=-1), "MagnitudeWarp: knots"),
        (lambda: SignFlip(1.5), "SignFlip: p is 1.5, it must be from 0 to 1"),
        (lambda: CutOut(2), "CutOut: length"),
        (lambda: ChannelDropout(-0.1), "ChannelDropout: p"),
        (lambda: ChannelShuffle(1.1), "ChannelShuffle: p"),
        (lambda: Mixup(1.1), "Mixup: min_lambda"),
        (lambda: Permutation(1), "Permutation: max_segments is 1, it must be at least 2"),
        (lambda: TimeReversal(-1), "TimeReversal: p"),
        (lambda: TimeWarp(-1), "TimeWarp: sigma"),
        (lambda: WindowWarp(factor=0.5), "WindowWarp: factor"),
        (lambda: WindowWarp(1.5), "WindowWarp: length"),
        (lambda: RandomCropResize(-1), "RandomCropResize: min_length"),
        (lambda: WindowSlice(1.1), "WindowSlice: length"),
        (lambda: FrequencyMask(2), "FrequencyMask: p"),
        (lambda: FrequencyAddition(level=2), "FrequencyAddition: level"),
        (lambda: FTSurrogate(2), "FTSurrogate: strength"),
        (lambda: BandStop(0), "BandStop: sfreq is 0 Hz"),
        (lambda: BandStop(100, 60), "a band of 60 Hz between 0 and 50 Hz cannot be drawn at 100 Hz"),
        (lambda: BandStop(100, 5, high=60), "between 0 and 60 Hz"),
        (lambda: BandStop(100, 0), "a band of 0 Hz"),
        (lambda: FrequencyShift(-1), "FrequencyShift: sfreq"),
        (lambda: FrequencyShift(100, 51), "FrequencyShift: max_shift is 51, it must be from 0 to 50"),
        (lambda: OneOf([]), "0 augmenters"),
        (lambda: OneOf([Jitter()], [1, 2]), "1 augmenters and weights"),
        (lambda: OneOf([Jitter()], [0]), "not all 0"),
        (lambda: OneOf([Jitter()], [float("nan")]), "weight of at least 0"),
        (lambda: RandomApply(Jitter(), 2), "RandomApply: p is 2"),
    ],
)
def test_unusable_arguments_are_refused_in_one_sentence(make, said):
    with pytest.raises(ConfigError, match=said):
        make()
