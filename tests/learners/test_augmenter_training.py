import copy
import logging

import pytest
import torch
from test_contrastive import encoder, fit, trainer, windows

from tscl.augmenters import Compose, Identity, Jitter, LatentMask, ParametricAugmenter
from tscl.data import WindowDataModule
from tscl.encoders import DilatedConvEncoder, encode_pair
from tscl.functional import pool_time
from tscl.heads import GlobalHead, GroupHead, LocalHead, ObservationHead
from tscl.learners import ContrastiveLearner
from tscl.learners.history import History

TRUNK = {"dim": 6, "hidden": 6, "depth": 2, "dropout": 0.0}


def augmenter(**options):
    return ParametricAugmenter(lambda channels: DilatedConvEncoder(channels, **TRUNK), **options)


def learner(view=None, heads=None, **options):
    heads = [GlobalHead(), LocalHead(segments=6)] if heads is None else heads
    return ContrastiveLearner(encoder(), heads, {"learned": view or augmenter()}, lr=1e-3, **options)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_encoder_and_augmenter_both_learn_and_are_logged():
    model, history = learner(), History()
    model.build(2)
    before = weights(model.encoder), weights(model.learning["learned"])
    fit(model, epochs=3, callbacks=[history])
    assert not same(before[0], weights(model.encoder))
    assert not same(before[1], weights(model.learning["learned"]))
    frame = history.frame()
    for term in ("mmd", "mask", "kept"):
        assert frame[f"train/learned/{term}"].notna().all()
    assert frame["train/learned/kept"].between(0, 1).all()
    total = frame["train/global"] + 0.3 * frame["train/local"]
    assert frame["train/loss"].to_numpy() == pytest.approx(total.to_numpy(), rel=1e-5)


def test_a_step_of_the_augmenter_is_adamw_on_its_terms_with_the_encoder_held_fixed():
    """One step of the learner against the same step written out."""
    model = learner(averaging=None)
    model.build(2)
    slow = copy.deepcopy(model)
    batch = windows()[torch.arange(16)]
    trainer(max_steps=1).fit(model, datamodule=(module := WindowDataModule(windows(), batch_size=16, seed=0)))
    batch = next(iter(module.train_dataloader()))

    optimizer = torch.optim.AdamW(slow.learning["learned"].parameters(), lr=0.01, weight_decay=0.0)
    torch.manual_seed(step_seed(seed=0))
    slow.encoder.eval()
    first, second = slow.view_pair("learned", batch)
    z1, z2 = encode_pair(slow.encoder, first, second)
    sum(slow.learning["learned"].loss_terms(first, second, z1, z2, lambda: None).values()).backward()
    optimizer.step()
    for name, value in model.learning["learned"].state_dict().items():
        torch.testing.assert_close(value, slow.learning["learned"].state_dict()[name], msg=name)

    slow.encoder.train().zero_grad()
    with torch.no_grad():
        first, second = slow.view_pair("learned", batch)
    z1, z2 = encode_pair(slow.encoder, first, second)
    loss = sum(head.weight * head(z1, z2, {}) for head in slow.heads)
    of_encoder = torch.optim.AdamW(slow.encoder.parameters(), lr=1e-3, weight_decay=0.01)
    loss.backward()
    of_encoder.step()
    for name, value in model.encoder.state_dict().items():
        torch.testing.assert_close(value, slow.encoder.state_dict()[name], msg=name)


def step_seed(seed):
    mixed = torch.tensor([seed, 0, 0, 0], dtype=torch.int64)
    primes = torch.tensor([1_000_003, 998_244_353, 1_000_000_007, 2_147_483_647], dtype=torch.int64)
    return int((mixed + 1).mul(primes).sum()) % (1 << 62)


def test_the_augmenter_takes_every_third_step():
    model = learner(augmenter(every=3))
    seen = []

    class Watch(History):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(weights(pl_module.learning["learned"]))

    fit(model, epochs=4, callbacks=[Watch()])
    changed = [not same(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert changed == [step % 3 == 0 for step in range(1, len(seen))]


def test_the_encoders_gradient_does_not_reach_the_augmenter_nor_the_other_way_round():
    model = learner()
    model.build(2)
    batch = windows()[torch.arange(16)]
    losses, _ = model.losses(batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for p in model.learning["learned"].parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_the_encoders_modes_and_gradients_are_as_before_a_step_of_the_augmenter():
    model = learner()
    model.build(2)
    model.encoder.stem.eval()
    model.encoder.blocks[0].requires_grad_(False)
    modes = [module.training for module in model.encoder.modules()]
    learned = [p.requires_grad for p in model.encoder.parameters()]
    fit(model)
    assert [module.training for module in model.encoder.modules()] == modes
    assert [p.requires_grad for p in model.encoder.parameters()] == learned


@pytest.mark.parametrize("objective", ["pri", "adversarial"])
def test_bfloat16(objective):
    model = fit(learner(augmenter(objective=objective)), epochs=2, precision="bf16-mixed")
    values = [*weights(model.encoder).values(), *weights(model.learning["learned"]).values()]
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in values)


def test_the_same_seed_gives_the_same_augmenter_and_another_one_another():
    first, second, third = (fit(learner(seed=seed), epochs=2).learning["learned"] for seed in (1, 1, 2))
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


def test_comet_heads_on_learned_views():
    heads = [ObservationHead(view="learned", weight=0.5), GroupHead("trial", view="clean", weight=0.5)]
    views = {"clean": Identity(), "learned": Compose([augmenter(), LatentMask("continuous")])}
    model = ContrastiveLearner(encoder(), heads, views, lr=1e-3)
    model.build(2)
    before = weights(model.learning["learned"])
    fit(model)
    assert not same(before, weights(model.learning["learned"]))


def test_relevant_information_brings_the_views_embeddings_nearer():
    torch.manual_seed(0)
    model = learner(augmenter(mask_weight=0.0, lr=0.02))
    model.build(2)
    batch = windows()[torch.arange(32)]

    def gap():
        torch.manual_seed(0)
        with torch.no_grad():
            z1, z2 = encode_pair(model.embedder.eval(), *model.view_pair("learned", batch))
        return float((pool_time(z1) - pool_time(z2)).square().mean())

    before = gap()
    frozen = weights(model.encoder)
    model.lr = 0.0
    fit(model, epochs=15)
    assert same(frozen, weights(model.encoder))
    assert gap() < before / 2


@pytest.mark.parametrize(
    ("bias", "share", "remedy"),
    [(20.0, "100.0 %", "Raise its mask_weight or lower its threshold"), (-20.0, "0.0 %", "Raise its mmd_weight")],
)
def test_a_mask_that_keeps_all_or_nothing_is_warned_about_once(bias, share, remedy, caplog):
    model = learner(augmenter(lr=1e-6))
    model.build(2)
    model.learning["learned"].mask_head.bias.data.fill_(bias)
    with caplog.at_level(logging.WARNING, logger="tscl"):
        fit(model, epochs=2)
    [said] = [record.getMessage() for record in caplog.records if "collapsed" in record.getMessage()]
    assert share in said
    assert remedy in said


def test_two_augmenters_that_learn_in_one_view_are_refused():
    with pytest.raises(ValueError, match="has 2 augmenters that learn"):
        learner(Compose([augmenter(), augmenter()]))
    assert learner(Compose([augmenter(), Jitter()])).learning
