import math

import numpy as np
import pytest
import torch

from tscl.functional import alignment, effective_rank, pool_time, score_quantiles, uniformity


def test_alignment_is_the_mean_squared_distance_on_the_sphere():
    h1, h2 = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0], [0.0, 5.0]])
    assert alignment(h1, h2).item() == pytest.approx((2.0 + 0.0) / 2)


def test_uniformity_by_hand():
    h = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    expected = math.log((2 * math.exp(-2 * 2) + math.exp(-2 * 4)) / 3)
    assert uniformity(h).item() == pytest.approx(expected, rel=1e-5)
    assert uniformity(h[:1]).item() == 0


def test_effective_rank_counts_directions():
    corners = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    assert effective_rank(corners).item() == pytest.approx(2.0, rel=1e-5)
    assert effective_rank(torch.outer(torch.arange(5.0), torch.ones(3))).item() == pytest.approx(1.0, rel=1e-3)


def log_std(z, axis):
    return np.log(np.var(z, axis=axis) + 1e-4) / 2


def test_segments_are_pooled_one_by_one():
    z = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0))
    parts = [z[:, :, :3], z[:, :, 3:5], z[:, :, 5:]]
    expected = torch.cat([*(p.mean(2) for p in parts), z.amax(2)], dim=1)
    torch.testing.assert_close(pool_time(z, "mean/3+max"), expected)
    with pytest.raises(ValueError, match="8 segments of 7"):
        pool_time(z, "mean/8")


@pytest.mark.parametrize("pooling", ["max", "mean", "mean+std", "max+mean+std", "logstd"])
def test_pooling_against_numpy(pooling):
    z = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    parts = {"max": np.max, "mean": np.mean, "std": np.std, "logstd": log_std}
    expected = np.concatenate([parts[p](z.numpy(), axis=2) for p in pooling.split("+")], axis=1)
    np.testing.assert_allclose(pool_time(z, pooling), expected, atol=1e-6)


def test_padding_is_left_out_of_the_pooling():
    z = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    keep = torch.ones(2, 6, dtype=torch.bool)
    keep[0, 4:] = False
    torch.testing.assert_close(pool_time(z, "max+mean+std", keep)[0], pool_time(z[:1, :, :4], "max+mean+std")[0])
    torch.testing.assert_close(pool_time(z, "max", ~keep | keep), pool_time(z, "max"))


def test_a_window_of_nothing_but_padding_is_finite():
    assert torch.isfinite(pool_time(torch.ones(1, 2, 4), "max+mean+std", torch.zeros(1, 4, dtype=torch.bool))).all()


def test_an_unknown_pooling_is_refused():
    for wrong in ("median", "max/0", "max/", "mean+"):
        with pytest.raises(ValueError, match="unknown pooling"):
            pool_time(torch.zeros(1, 1, 2), wrong)


def test_score_quantiles_are_those_of_the_pairs_one_by_one():
    h1, h2 = torch.randn(2, 7, 5)
    positive, negative = torch.rand(2, 7, 7) > 0.6
    found = score_quantiles(h1, h2, positive, negative, q=(0.1, 0.5, 0.9))
    assert found.shape == (2, 3)
    for pairs, row in ((positive, found[0]), (negative, found[1])):
        scores = [
            float(h1[i] @ h2[j] / (h1[i].norm() * h2[j].norm())) for i in range(7) for j in range(7) if pairs[i, j]
        ]
        assert row.tolist() == pytest.approx(np.quantile(scores, [0.1, 0.5, 0.9]).tolist(), abs=1e-5)
    none = torch.zeros(7, 7, dtype=torch.bool)
    assert score_quantiles(h1, h2, none, ~none)[0].isnan().all()
