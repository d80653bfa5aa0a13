import numpy as np
import pytest

from tscl.errors import ConfigError, DataError
from tscl.evaluation import plain_word, word_chance, word_ranks
from tscl.evaluation.retrieval import words as module

WORDS = ["The", "cat", "the,", None, "sat", "CAT!", "on"]


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("Don't,", "don't"),
        ("don’t", "don't"),
        ("“Alice”", "alice"),
        ("Straße.", "strasse"),
        ("x-ray", "x-ray"),
        ("...", None),
        ("", None),
        (None, None),
        (np.nan, None),
    ],
)
def test_words_are_compared_without_case_and_punctuation(word, plain):
    assert plain_word(word) == plain


def slow_ranks(scores, truth, words):
    """Add softmax probabilities word by word."""
    plain = [plain_word(word) for word in words]
    ranks = []
    for row, true in zip(scores, truth, strict=True):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        sums = {}
        for word, one in zip(plain, p, strict=True):
            if word is not None:
                sums[word] = sums.get(word, 0) + one
        own = sums.get(plain[true])
        ranks.append(np.nan if own is None else 1 + sum(other > own for other in sums.values()))
    return ranks


def test_ranks_are_those_of_summed_probabilities(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 50)
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(60, 7)), rng.integers(7, size=60)
    ranks, tied = word_ranks(scores, truth, WORDS)
    np.testing.assert_array_equal(ranks, slow_ranks(scores, truth, WORDS))
    np.testing.assert_array_equal(np.isnan(ranks), truth == 3)
    np.testing.assert_array_equal(tied[truth != 3], 1)


def test_two_candidates_of_a_word_beat_one_that_is_better_than_each():
    scores = np.log([[0.3, 0.2, 0.3, 1e-9, 0.4, 0.2, 1e-9]])
    assert [word_ranks(scores, np.array([true]), WORDS)[0][0] for true in (0, 2, 4, 1)] == [1, 1, 2.5, 2.5]


def test_hopeless_scores_keep_their_order():
    scores = np.array([[0.0, -3e4, -1e5, -5e4, -2e4, -3e4, -4e4]])
    assert [word_ranks(scores, np.array([true]), WORDS)[0][0] for true in (0, 4, 1, 6)] == [1, 2, 3, 4]


def test_scores_and_words_must_fit():
    with pytest.raises(DataError, match="7 words"):
        word_ranks(np.zeros((2, 6)), np.zeros(2, int), WORDS)
    with pytest.raises(DataError, match="NaN or infinity"):
        word_ranks(np.full((2, 7), np.nan), np.zeros(2, int), WORDS)


def test_no_word_at_all_leaves_everything_out():
    ranks, tied = word_ranks(np.zeros((3, 2)), np.zeros(3, int), [None, "?"])
    assert np.isnan([*ranks, *tied]).all()


def test_chance_is_a_model_with_equal_probabilities():
    words = ["the"] * 5 + ["a"] * 3 + ["cat", "dog", "sat", None]
    truth = np.array([0, 1, 5, 8, 9, 11])
    found = word_chance(words, truth, (1, 2, 3))
    ranks, tied = word_ranks(np.full((6, 12), 0.1234), truth, words)
    np.testing.assert_array_equal(ranks, [1, 1, 2, 4, 4, np.nan])
    np.testing.assert_array_equal(tied, [1, 1, 1, 3, 3, np.nan])
    assert found == pytest.approx(
        {"top1": 2 / 5, "top2": 3 / 5, "top3": (3 + 2 / 3) / 5, "median_relative_rank": (2 - 1) / 4}
    )
    with pytest.raises(ConfigError, match="top-5 accuracy among 5 candidates"):
        word_chance(words, truth, (5,))
