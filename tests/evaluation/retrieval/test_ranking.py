import numpy as np
import pytest
import torch

from tscl.errors import ConfigError, DataError
from tscl.evaluation import chance_level, match_scores, retrieval_metrics, tie_sizes, true_ranks
from tscl.evaluation.retrieval import ranking


def test_scores_are_products_with_candidates_of_unit_norm():
    generator = torch.Generator().manual_seed(0)
    z, candidates = torch.randn(4, 3, 5, generator=generator), torch.randn(7, 3, 5, generator=generator)
    expected = [[float((a * b / b.square().sum().sqrt()).sum()) for b in candidates] for a in z]
    for chunk in (1, 3, 64):
        np.testing.assert_allclose(match_scores(z, candidates, chunk), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(match_scores(2 * z, 9 * candidates), 2 * match_scores(z, candidates))


@pytest.mark.parametrize("shape", [(7, 3, 4), (7, 2, 5), (0, 3, 5), (7, 15)])
def test_candidates_that_do_not_fit_are_refused(shape):
    with pytest.raises(DataError, match=r"windows \(4, 3, 5\) and candidates \("):
        match_scores(torch.ones(4, 3, 5), torch.ones(shape))


def test_ranks_count_what_scores_higher_and_share_ties(monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", 8)
    scores = np.array([[4, 3, 2, 1], [4, 3, 2, 1], [1, 2, 2, 0], [5, 5, 5, 5], [0, 1, 1, 1]], dtype=float)
    truth = np.array([0, 3, 1, 2, 2])
    np.testing.assert_array_equal(true_ranks(scores, truth), [1, 4, 1.5, 2.5, 2])
    np.testing.assert_array_equal(tie_sizes(scores, truth), [1, 1, 2, 4, 3])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_cannot_be_ranked_are_refused(bad, monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", 3)
    scores = np.zeros((4, 3))
    scores[2, 1] = bad
    with pytest.raises(DataError, match="query 2 hold NaN or infinity"):
        true_ranks(scores, np.zeros(4, int))


def test_shapes_and_columns_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3\) and truth \(3,\)"):
        true_ranks(np.zeros((2, 3)), np.zeros(3, int))
    with pytest.raises(DataError, match="from -1 to 3: expected columns of 3"):
        true_ranks(np.zeros((2, 3)), np.array([-1, 3]))


def test_metrics_of_known_ranks():
    found = retrieval_metrics(np.array([1, 2, 6, 10, 21, np.nan]), 21)
    assert found == {"top1": 0.2, "top5": 0.4, "top10": 0.8, "median_relative_rank": 0.25}
    assert all(np.isnan(list(retrieval_metrics(np.array([np.nan]), 21).values())))


@pytest.mark.parametrize("m", [11, 15, 40])
def test_a_constant_model_is_at_chance(m):
    scores, truth = np.zeros((6, m)), np.arange(6)
    found = retrieval_metrics(true_ranks(scores, truth), m, tied=tie_sizes(scores, truth))
    assert found == pytest.approx(chance_level(m))


def test_a_tie_across_the_kth_place_counts_as_in_a_random_order():
    scores, truth = np.array([[3.0, 2, 2, 2, 1]]), np.array([2])
    ranks, tied = true_ranks(scores, truth), tie_sizes(scores, truth)
    assert ranks == 3
    found = retrieval_metrics(ranks, 5, (1, 2, 3, 4), tied)
    assert [found[f"top{k}"] for k in (1, 2, 3, 4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("n", [5, 10])
def test_too_few_candidates_are_refused(n):
    for ask in (lambda: chance_level(n), lambda: retrieval_metrics(np.ones(3), n)):
        with pytest.raises(ConfigError, match=rf"top-{n} accuracy among {n} candidates.*more candidates than {n}"):
            ask()
    with pytest.raises(ConfigError, match="k is 0"):
        chance_level(5, (0,))
