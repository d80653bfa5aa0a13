import pytest
import torch

from tscl.functional import tiles
from tscl.functional.tiles import pair_logsumexp


def draw(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def plain(q, k, without=None, within=None):
    """The same with the whole matrix, pair by pair."""
    similarity = q @ k.T
    total = q.sum() * 0
    left_out = torch.zeros(similarity.shape, dtype=torch.bool)
    for i in range(len(q)):
        for j in range(len(q)):
            if i != j and without is not None and without[i] == without[j] >= 0:
                left_out[i, j] = True
            if i != j and within is not None and within[i] == within[j] >= 0:
                total = total + similarity[i, j]
    similarity = similarity.masked_fill(left_out, -torch.inf)
    return similarity.logsumexp(dim=1), similarity.logsumexp(dim=0), (q * k[: len(q)]).sum(dim=1), total


@pytest.mark.parametrize(("n", "m", "dim"), [(1, 1, 2), (5, 5, 3), (4, 9, 2), (7, 7, 1)])
@pytest.mark.parametrize("ids", [None, "without", "within"])
def test_equals_the_whole_matrix(n, m, dim, ids):
    q, k = draw((n, dim), (m, dim))
    given = {} if ids is None else {ids: torch.tensor([0, 1, 0, -1, -1, 1, 0])[:n]}
    if ids == "within" and n != m:
        pytest.skip("sums of pairs are of square matrices")
    ours, theirs = pair_logsumexp(q, k, **given), plain(q, k, **given)
    weights = draw((n,), (m,), (n,), ())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(
        torch.autograd.grad(sum((w * a).sum() for w, a in zip(weights, ours, strict=True)), (q, k)),
        torch.autograd.grad(sum((w * a).sum() for w, a in zip(weights, theirs, strict=True)), (q, k)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_large_scores_neither_overflow_nor_vanish():
    q, k = draw((6, 4), (6, 4))
    rows, columns, *_ = pair_logsumexp(1e3 * q, k)
    expected = plain(1e3 * q, k)
    torch.testing.assert_close(rows, expected[0])
    torch.testing.assert_close(columns, expected[1])
    assert torch.autograd.grad(rows.sum(), q)[0].isfinite().all()


def test_half_precision_is_summed_in_single():
    q, k = (one.detach().bfloat16().requires_grad_() for one in draw((50, 8), (50, 8)))
    rows, *_ = pair_logsumexp(q, k)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, (q @ k.T).float().logsumexp(dim=1), rtol=1e-2, atol=1e-2)
    assert torch.autograd.grad(rows.sum(), q)[0].dtype == torch.bfloat16


def test_no_tile_is_larger_than_it_may_be(tile):
    for n, m in ((3, 100), (100, 3), (30, 30), (1, 1)):
        seen = torch.zeros(n, m, dtype=torch.int8)
        for i, j in tiles.tile_spans(n, m, torch.device("cpu")):
            seen[i, j] += 1
            assert seen[i, j].numel() <= max(tile, 1)
        assert (seen == 1).all()


def test_a_single_choice_costs_exactly_nothing():
    q, k = (one.detach().float().requires_grad_() for one in draw((1, 300), (1, 300)))
    rows, columns, own, _ = pair_logsumexp(q, k)
    loss = (rows + columns - 2 * own).sum()
    assert loss == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, (q, k)))
