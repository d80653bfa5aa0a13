import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.augmenters import Compose, Identity, LatentMask, OverlappingCrops
from tscl.types import View

KINDS = ["binomial", "continuous", "channel_binomial", "channel_continuous", "last"]


def signals(n=4, channels=2, steps=50):
    return torch.arange(n * channels * steps, dtype=torch.float32).view(n, channels, steps)


@settings(deadline=None, max_examples=30)
@given(kind=st.sampled_from(KINDS), n=st.integers(1, 4), steps=st.integers(1, 40))
def test_masks_have_the_right_shape(kind, n, steps):
    mask = LatentMask(kind, channels=6).draw(torch.zeros(n, 3, steps))
    assert mask.dtype == torch.bool
    assert mask.shape == ((n, 6, steps) if kind.startswith("channel") else (n, steps))


def test_continuous_gaps_have_their_length():
    torch.manual_seed(0)
    mask = LatentMask("continuous", n_gaps=1, length=0.2).draw(torch.zeros(200, 1, 50))
    assert ((~mask).sum(1) == 10).all()
    edges = (mask[:, 1:] != mask[:, :-1]).sum(1)
    assert edges.max() == 2
    starts = (~mask).float().argmax(1)
    assert starts.min() == 0
    assert starts.max() == 40
    several = LatentMask("continuous").draw(torch.zeros(500, 1, 100))
    hidden = (~several).float().mean()
    assert 0.35 < hidden < 0.45


def test_channel_wise_gaps_hide_half_of_the_channels():
    torch.manual_seed(0)
    mask = LatentMask("channel_continuous", n_gaps=1, channels=8).draw(torch.zeros(50, 1, 40))
    assert ((~mask).any(2).sum(1) == 4).all()


def test_binomial_keeps_a_share_and_last_hides_the_last():
    torch.manual_seed(0)
    assert 0.28 < LatentMask("binomial", p=0.3).draw(torch.zeros(100, 1, 100)).float().mean() < 0.32
    assert LatentMask("last").draw(torch.zeros(1, 1, 3)).tolist() == [[True, True, False]]


def test_two_views_get_different_masks_and_masks_add_up():
    torch.manual_seed(0)
    view = View(signals())
    first, second = LatentMask("binomial").pair(view, view)
    assert first.x is view.x
    assert not torch.equal(first.mask, second.mask)
    both = LatentMask("last")(first)
    assert torch.equal(both.mask[:, :-1], first.mask[:, :-1])
    assert not both.mask[:, -1].any()
    mixed = LatentMask("channel_binomial", channels=3)(first)
    assert not (mixed.mask & ~first.mask[:, None]).any()


def test_unusable_masks_are_refused():
    with pytest.raises(ValueError, match="unknown mask"):
        LatentMask("sometimes")
    with pytest.raises(ValueError, match="needs channels"):
        LatentMask("channel_binomial")


@settings(deadline=None, max_examples=50)
@given(steps=st.integers(2, 40), seed=st.integers(0, 1000))
def test_crops_show_the_same_stretch(steps, seed):
    torch.manual_seed(seed)
    view = View(signals(steps=steps))
    first, second = OverlappingCrops().pair(view, view)
    shared = [v.x[:, :, v.span[0] : v.span[1]] for v in (first, second)]
    assert shared[0].shape[2] >= 2
    assert torch.equal(*shared)
    assert first.x.shape[2] <= steps
    assert (first.x.diff(dim=2) == 1).all()


def test_compose_crops_then_masks_each_view_on_its_own():
    torch.manual_seed(1)
    view = View(signals())
    first, second = Compose([OverlappingCrops(), LatentMask("binomial")]).pair(view, view)
    assert first.mask.shape == (4, first.x.shape[2])
    assert second.mask.shape == (4, second.x.shape[2])
    assert first.span is not None
    assert Compose([Identity()])(view) is view
