from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from listening import heard
from test_retrieval_protocol import SEGMENTS, WORDS, Undo

from tscl.errors import ConfigError
from tscl.evaluation import best_candidates, candidates_of, evaluate_retrieval, score_matrix


def test_the_best_candidates_are_those_of_the_sorted_scores():
    windows, rows = heard(SEGMENTS, noise=4.0, words=WORDS), np.array([30, 3, 11])
    table = best_candidates(Undo(), windows, rows, k=4)
    assert table["query"].tolist() == np.repeat(rows, 4).tolist()
    assert table["place"].tolist() == [1, 2, 3, 4] * 3
    assert table["subject"].tolist() == ["b"] * 4 + ["a"] * 8
    ranks = evaluate_retrieval({"undo": Undo()}, windows).table["rank"].to_numpy()
    assert table["rank"].tolist() == np.repeat(ranks[rows], 4).tolist()
    scores, candidates = score_matrix(Undo(), windows).astype(float), candidates_of(windows)
    for row, part in table.groupby("query", sort=False):
        order = np.argsort(-scores[row])[:4]
        odds = np.exp(scores[row] - scores[row].max())
        np.testing.assert_allclose(part["probability"], (odds / odds.sum())[order], rtol=1e-4)
        assert part["words"].tolist() == [WORDS[one] for one in order]
        assert part["true"].tolist() == (order == candidates.truth[row]).tolist()
        assert set(part["heard"]) == {WORDS[candidates.truth[row]]}
    assert table["true"].any()
    with pytest.raises(ConfigError, match="k is 26: there are 25 candidates"):
        best_candidates(Undo(), windows, rows, k=26)


def test_a_candidate_is_named_by_the_words_heard_in_it():
    """Windows last 2 s, and their segments begin a second apart; a word is heard every half second."""
    windows = heard(SEGMENTS[:12])
    onsets = np.arange(0, 20, 0.5)
    words = pd.DataFrame({"sound": "sound2.wav", "sound_onset": onsets, "word": [f"w{at:g}" for at in onsets]})
    windows.corpus = SimpleNamespace(words=pd.concat([words[::-1], words, words.assign(sound="other.wav")]))
    select = windows.select
    table = best_candidates(Undo(), windows, [5], k=1)
    assert select(np.arange(2)).metadata["sound"].tolist() == ["sound2.wav"] * 2
    assert table.loc[0, "heard"] == table.loc[0, "words"] == "w5 w5.5 w6 w6.5"


def test_without_words_it_is_named_by_its_number():
    table = best_candidates(Undo(), heard(SEGMENTS), [0], k=1)
    assert table.loc[0, "words"] == "segment 100"
