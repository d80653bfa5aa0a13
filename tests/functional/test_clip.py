import itertools

import pytest
import slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl import functional as F

IDS = [None, [0, 1, 2, 3, 4], [0, 1, 0, 2, 1], [7, 7, 7, 7, 7]]


def draw(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def assert_same(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(theirs, inputs, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_scores_are_products_with_stretches_of_unit_norm():
    z, speech = draw((3, 4, 6), (5, 4, 6))
    expected = torch.stack([torch.stack([(a * y).sum() / (y * y).sum() ** 0.5 for y in speech]) for a in z])
    assert_same(F.match_logits(z, speech).sin().sum(), expected.sin().sum(), (z, speech))
    torch.testing.assert_close(F.match_logits(2 * z, 3 * speech), 2 * expected)


@pytest.mark.parametrize(
    ("ids", "n_negatives", "scaled", "symmetric"), itertools.product(IDS, [0, 3], [False, True], [False, True])
)
def test_clip_equals_the_slow_version(ids, n_negatives, scaled, symmetric):
    z, speech, negatives, log_scale = draw((5, 3, 4), (5, 3, 4), (n_negatives, 3, 4), ())
    given = {"negatives": negatives if n_negatives else None, "log_scale": log_scale if scaled else None}
    ours = F.clip_loss(z, speech, ids=None if ids is None else torch.tensor(ids), symmetric=symmetric, **given)
    assert_same(ours, slow.clip(z, speech, ids=ids, symmetric=symmetric, **given), (z, speech, negatives, log_scale))


@pytest.mark.parametrize("ids", IDS)
def test_siglip_equals_the_slow_version(ids):
    z, speech, log_scale, bias = draw((5, 3, 4), (5, 3, 4), (), ())
    ours = F.siglip_loss(z, speech, log_scale, bias, ids=None if ids is None else torch.tensor(ids))
    assert_same(ours, slow.siglip(z, speech, log_scale, bias, ids), (z, speech, log_scale, bias))


def test_gradients_are_those_of_finite_differences():
    z, speech, log_scale, bias = draw((4, 2, 3), (4, 2, 3), (), ())
    ids = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda *a: F.clip_loss(*a, ids=ids, symmetric=True), (z, speech))
    assert torch.autograd.gradcheck(lambda a, b, c: F.clip_loss(a, b, log_scale=c), (z, speech, log_scale))
    assert torch.autograd.gradcheck(lambda *a: F.siglip_loss(*a, ids=ids), (z, speech, log_scale, bias))


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 6),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    seed=st.integers(0, 99),
    symmetric=st.booleans(),
    data=st.data(),
)
def test_the_order_of_the_batch_does_not_matter(batch, shape, seed, symmetric, data):
    z, speech, log_scale, bias = draw((batch, *shape), (batch, *shape), (), (), seed=seed)
    ids = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=batch, max_size=batch)))
    order = torch.tensor(data.draw(st.permutations(range(batch))))
    scores = F.match_logits(z, speech)
    torch.testing.assert_close(F.match_logits(z[order], speech[order]), scores[order][:, order])
    for loss in (
        lambda i: F.clip_loss(z[i], speech[i], ids=ids[i], symmetric=symmetric),
        lambda i: F.siglip_loss(z[i], speech[i], log_scale, bias, ids=ids[i]),
    ):
        torch.testing.assert_close(loss(order), loss(torch.arange(batch)))


@pytest.mark.parametrize("symmetric", [False, True])
def test_without_a_negative_the_loss_and_its_gradient_are_exactly_0(symmetric):
    for n, ids in ((1, None), (1, [4]), (3, [4, 4, 4])):
        z, speech = draw((n, 3, 4), (n, 3, 4))
        loss = F.clip_loss(z, speech, ids=None if ids is None else torch.tensor(ids), symmetric=symmetric)
        assert loss == 0
        assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, (z, speech)))


def test_silent_stretches_and_windows_give_no_nan():
    z, speech, log_scale, bias = draw((3, 2, 4), (3, 2, 4), (), ())
    z, speech = (torch.cat([torch.zeros(1, 2, 4, dtype=torch.float64), x[1:]]).requires_grad_() for x in (z, speech))
    for loss in (F.clip_loss(z, speech, log_scale=log_scale), F.siglip_loss(z, speech, log_scale, bias)):
        assert torch.isfinite(loss)
        assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(loss, (z, speech)))


def test_autocast_scores_in_single_precision():
    z, speech = (one.detach().to(torch.bfloat16) for one in draw((4, 3, 50), (4, 3, 50)))
    scale, ids = torch.tensor(1.0), torch.tensor([0, 1, 0, 2])
    expected = F.match_logits(z.float(), speech.float())
    single = F.clip_loss(z.float(), speech.float(), ids=ids, log_scale=scale)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, loss = F.match_logits(z, speech), F.clip_loss(z, speech, ids=ids, log_scale=scale)
        judged = F.siglip_loss(z, speech, scale, scale)
    assert (scores.dtype, loss.dtype, judged.dtype) == (torch.float32,) * 3
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(loss, single)


def test_shapes_that_do_not_fit_are_refused():
    z, speech, scale = torch.zeros(4, 3, 5), torch.zeros(4, 3, 5), torch.zeros(())
    for wrong in (torch.zeros(4, 3, 6), torch.zeros(4, 2, 5), torch.zeros(4, 15)):
        with pytest.raises(ValueError, match=r"windows \(4, 3, 5\) and candidates \(4, "):
            F.match_logits(z, wrong)
    with pytest.raises(ValueError, match=r"windows \(4, 15\)"):
        F.match_logits(z.flatten(1), speech.flatten(1))
    for loss in (F.clip_loss, lambda *a, **k: F.siglip_loss(*a, scale, scale, **k)):
        with pytest.raises(ValueError, match="4 windows but 3 stretches of speech"):
            loss(z, speech[:3])
        with pytest.raises(ValueError, match=r"one id a window, shape \(4,\), got \(3,\)"):
            loss(z, speech, ids=torch.arange(3))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        F.clip_loss(z, speech, negatives=torch.zeros(2, 3, 6))
