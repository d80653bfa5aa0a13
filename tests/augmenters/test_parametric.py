import math

import pytest
import torch
from torch import nn

from tscl import View
from tscl.augmenters import Compose, HardConcrete, Jitter, OverlappingCrops, ParametricAugmenter
from tscl.encoders import DilatedConvEncoder
from tscl.functional import mmd


def built(channels=2, seed=0, **options):
    torch.manual_seed(seed)
    augmenter = ParametricAugmenter(lambda c: DilatedConvEncoder(c, dim=8, hidden=8, depth=2, dropout=0.0), **options)
    augmenter.build(channels)
    return augmenter


def signals(n=4, channels=2, steps=20, seed=0):
    return torch.randn(n, channels, steps, generator=torch.Generator().manual_seed(seed))


def test_the_view_is_transform_times_mask_times_signal():
    augmenter, x = built(), signals()
    torch.manual_seed(1)
    view = augmenter(View(x))
    torch.manual_seed(1)
    mask, transform = augmenter.explain(x)
    torch.testing.assert_close(view.x, transform * mask[:, None] * x)
    assert torch.equal(view.kept, mask)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert ((transform > 1 / math.e) & (transform < math.e)).all()


def test_a_pair_leaves_the_first_view_as_it_is():
    augmenter, view = built(), View(signals())
    first, second = augmenter.pair(view, view)
    assert first is view
    assert second.kept is not None
    assert not torch.equal(second.x, view.x)


def test_without_mask_or_transform():
    x = signals()
    mask, transform = built(use_mask=False).explain(x)
    assert (mask == 1).all()
    assert built(use_mask=False)(View(x)).kept is None
    assert transform.std() > 0
    mask, transform = built(use_transform=False).explain(x)
    assert (transform == 1).all()
    assert mask.mean() < 1


def test_noise_takes_the_place_of_what_is_removed():
    augmenter, x = built(noise=0.5), torch.zeros(16, 2, 200)
    augmenter.mask_head.bias.data.fill_(0.0)
    view = augmenter(View(x))
    gone = view.kept == 0
    assert 0.2 < gone.float().mean() < 0.8
    removed = view.x.transpose(1, 2)[gone]
    assert removed.std().item() == pytest.approx(0.5, rel=0.05)
    assert (view.x.transpose(1, 2)[~gone] == 0).all()


def test_missing_values_stay_missing_and_spoil_nothing():
    x = signals()
    x[1, 0, 5] = torch.nan
    x[2, :, 15:] = torch.nan
    augmenter = built()
    view = augmenter(View(x))
    assert torch.equal(view.x.isnan(), x.isnan())
    assert view.kept.isfinite().all()
    encoder = DilatedConvEncoder(2, dim=4, hidden=4, depth=2)
    gradients = torch.autograd.grad(encoder(view.x).square().mean(), list(augmenter.parameters()))
    assert all(one.isfinite().all() for one in gradients)
    assert any(one.abs().sum() > 0 for one in gradients)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.05), (0.3, 0.2)])
def test_gates_are_the_hard_concrete_distribution(temperature, bias):
    logits = torch.linspace(-3, 3, 5).repeat(20000, 1)
    gates = HardConcrete(temperature, stretch=0.1, bias=bias, straight_through=False)
    torch.manual_seed(0)
    drawn = gates(logits)
    torch.manual_seed(0)
    u = bias + (1 - 2 * bias) * torch.rand_like(logits)
    s = 1 / (1 + torch.exp(-(torch.log(u / (1 - u)) + logits) / temperature))
    torch.testing.assert_close(drawn, torch.clip(s * 1.2 - 0.1, 0, 1), atol=1e-6, rtol=0)
    share = gates.eval()(logits)[0]
    torch.testing.assert_close((drawn > 0.5).float().mean(0), share, atol=0.02, rtol=0)


def test_straight_through_rounds_and_lets_the_gradient_pass():
    logits = torch.linspace(-2, 2, 9).requires_grad_()
    soft, hard = (HardConcrete(straight_through=one) for one in (False, True))
    torch.manual_seed(0)
    a = soft(logits)
    torch.manual_seed(0)
    b = hard(logits)
    assert torch.equal(b.detach(), (a.detach() > 0.5).float())
    [of_soft], [of_hard] = (torch.autograd.grad(one.sum(), logits) for one in (a, b))
    torch.testing.assert_close(of_soft, of_hard)
    assert of_soft.abs().sum() > 0


def test_the_terms_of_relevant_information():
    augmenter = built(mmd_weight=2.0, mask_weight=3.0, temporal_weight=5.0, threshold=0.25)
    kept = torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0]])
    z1, z2 = signals(2, 3, 4, seed=1), signals(2, 3, 4, seed=2)
    view = View(signals(2, 2, 4))
    terms = augmenter.loss_terms(view, view._replace(kept=kept), z1, z2, lambda: torch.tensor(7.0))
    assert tuple(terms) == augmenter.terms == ("mmd", "mask", "temporal")
    torch.testing.assert_close(terms["mmd"], 2 * mmd(z1.amax(2), z2.amax(2)))
    assert terms["mask"].item() == pytest.approx(3 * 0.25)
    assert terms["temporal"].item() == pytest.approx(5 * (1 + 0 + 1 + 0 + 1 + 0) / 6)


def test_below_the_threshold_the_size_of_the_mask_is_free():
    augmenter = built(threshold=0.6)
    view = View(signals(2, 2, 4), kept=torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0]]))
    z = signals(2, 3, 4)
    assert augmenter.loss_terms(view, view, z, z, lambda: z.sum())["mask"] == 0


def test_the_adversary_turns_the_heads_loss_around():
    augmenter = built(objective="adversarial", temporal_weight=0.0)
    assert augmenter.terms == ("mask", "adversarial")
    view, z = View(signals(), kept=torch.ones(4, 20)), signals()
    terms = augmenter.loss_terms(view, view, z, z, lambda: torch.tensor(7.0))
    assert terms["adversarial"] == -7


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({}, ("mmd", "mask")),
        ({"mmd_weight": 0.0}, ("mask",)),
        ({"use_mask": False, "temporal_weight": 1.0}, ("mmd",)),
        ({"use_transform": False, "mask_weight": 0.0}, ("mmd",)),
    ],
)
def test_ablations(options, terms):
    augmenter = built(**options)
    assert augmenter.terms == terms
    view = augmenter(View(signals()))
    z = signals().requires_grad_()
    loss = sum(augmenter.loss_terms(View(signals()), view, z, z + view.x, lambda: z.sum()).values())
    gradients = torch.autograd.grad(loss, list(augmenter.parameters()), allow_unused=True)
    assert any(one is not None and one.abs().sum() > 0 for one in gradients)


def test_every_parameter_learns_and_building_twice_changes_nothing():
    augmenter = built()
    before = {name: value.clone() for name, value in augmenter.state_dict().items()}
    augmenter.build(2)
    assert all(torch.equal(value, before[name]) for name, value in augmenter.state_dict().items())
    view = augmenter(View(signals()))
    (view.x.square().mean() + view.kept.mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in augmenter.parameters())


def test_behind_crops_it_changes_the_second_crop_only():
    augmenter, x = built(), signals(steps=40)
    torch.manual_seed(3)
    expected, _ = OverlappingCrops().pair(View(x), View(x))
    torch.manual_seed(3)
    first, second = Compose([OverlappingCrops(), augmenter]).pair(View(x), View(x))
    assert torch.equal(first.x, expected.x)
    assert second.kept.shape == (4, second.x.shape[2])
    assert second.span is not None


def test_any_network_can_be_the_trunk():
    class Trunk(nn.Module):
        dim = 3

        def __init__(self):
            super().__init__()
            self.net = nn.Conv1d(2, 3, 5, padding=2)

        def forward(self, x):
            return self.net(x)

    augmenter = ParametricAugmenter(Trunk())
    augmenter.build(2)
    assert augmenter(View(signals())).kept.shape == (4, 20)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: ParametricAugmenter(objective="none"), ValueError, "use pri or adversarial"),
        (lambda: ParametricAugmenter(use_mask=False, use_transform=False), ValueError, "nothing to learn"),
        (lambda: ParametricAugmenter(every=0), ValueError, "every is 0"),
        (lambda: ParametricAugmenter(mmd_weight=0.0, mask_weight=0.0), ValueError, "nothing would train it"),
        (lambda: HardConcrete(bias=0.5), ValueError, "bias 0.5"),
        (lambda: ParametricAugmenter()(View(signals())), RuntimeError, "not built"),
    ],
)
def test_settings_that_cannot_be(make, kind, said):
    with pytest.raises(kind, match=said):
        make()


def test_a_trunk_must_keep_the_time_steps():
    trunk = nn.Conv1d(2, 4, 2, stride=2)
    trunk.dim = 4
    augmenter = ParametricAugmenter(trunk)
    augmenter.build(2)
    with pytest.raises(ValueError, match="10 steps for 20"):
        augmenter(View(signals()))


def test_fixed_augmenters_have_nothing_to_learn():
    jitter = Jitter()
    assert jitter.terms == ()
    view = View(signals())
    assert jitter.loss_terms(view, view, view.x, view.x, lambda: view.x.sum()) == {}
