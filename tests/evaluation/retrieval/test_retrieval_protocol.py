import logging

import numpy as np
import pytest
import torch
from listening import heard
from torch import nn

from tscl.errors import ConfigError, DataError
from tscl.evaluation import (
    BackwardModel,
    Candidates,
    candidates_of,
    chance_level,
    evaluate_retrieval,
    match_scores,
    score_matrix,
    true_ranks,
)
from tscl.evaluation.retrieval import protocol

SEGMENTS = np.arange(100, 125)
WORDS = [f"w{i % 13}" for i in range(25)]


class Undo(nn.Module):
    """Take the speech back out of the sensors of :func:`heard`, by the subject's mixture."""

    def __init__(self):
        super().__init__()
        undo = [np.linalg.pinv(np.random.default_rng(10 + i).normal(size=(6, 3))) for i in range(2)]
        self.undo = nn.Parameter(torch.tensor(np.array(undo), dtype=torch.float32))
        self.modes = []

    def forward(self, x, sensors=None):
        self.modes.append(self.training)
        x = x - x.mean(dim=2, keepdim=True)
        return torch.roll(self.undo[sensors.subject] @ x, -4, dims=2)


class Constant:
    def predict(self, batch):
        assert not batch.paired, "a model must not see the speech"
        return torch.zeros(len(batch), 3, 80)


def test_a_good_encoder_is_perfect_and_a_constant_one_at_chance():
    windows, encoder = heard(SEGMENTS, words=WORDS), Undo()
    results = evaluate_retrieval({"undo": encoder, "constant": Constant()}, windows, batch_size=7, seed=3)
    assert (results.table.query("model == 'undo'")[["rank", "word_rank"]] == 1).all(axis=None)
    assert results.table["seed"].unique() == [3]
    assert results.n_candidates == 25
    constant = results.summary().query("model == 'constant'").set_index("metric")
    assert constant["mean"].to_dict() == pytest.approx(results.chance())
    assert constant["mean"].to_dict() == pytest.approx(
        chance_level(25) | {name: value for name, value in results.chance().items() if name.startswith("word")}
    )
    assert encoder.modes
    assert not any(encoder.modes)
    assert encoder.training


def test_windows_of_one_segment_share_its_candidate():
    windows = heard(SEGMENTS)
    found = candidates_of(windows.select(np.random.default_rng(0).permutation(len(windows))))
    assert isinstance(found, Candidates)
    assert found.table["segment"].tolist() == SEGMENTS.tolist()
    np.testing.assert_array_equal(found.table["segment"].to_numpy()[found.truth], found.windows.metadata["segment"])
    np.testing.assert_array_equal(found.windows.metadata["segment"].to_numpy()[found.rows], SEGMENTS)
    torch.testing.assert_close(found.features(slice(3, 5)), torch.from_numpy(windows.speech[103:105]))


@pytest.mark.parametrize("nbytes", [4 * 240, 7 * 4 * 240, 2**30])
def test_memory_bounds_change_no_score(nbytes, monkeypatch):
    windows, encoder = heard(SEGMENTS, noise=3.0), Undo()
    monkeypatch.setattr(protocol, "CANDIDATE_BYTES", nbytes)
    monkeypatch.setattr(protocol, "SCORE_CELLS", 25 * 16)
    batch = windows[:]
    expected = match_scores(encoder(batch.x, sensors=batch.sensors), torch.from_numpy(windows.speech[SEGMENTS]))
    scores = score_matrix(encoder, windows, batch_size=8)
    np.testing.assert_allclose(scores, expected.detach(), rtol=1e-4, atol=1e-4)
    table = evaluate_retrieval({"undo": encoder}, windows, batch_size=8).table
    np.testing.assert_array_equal(table["rank"], true_ranks(scores, candidates_of(windows).truth))
    assert (table["rank"] > 1).sum() > 0


def test_other_queries_are_scored_against_given_candidates():
    few = heard(SEGMENTS[:4])
    scores = score_matrix(Undo(), few, candidates_of(heard(SEGMENTS)))
    assert scores.shape == (8, 25)
    np.testing.assert_array_equal(scores.argmax(axis=1), [0, 1, 2, 3] * 2)


def test_a_subject_without_a_window_is_said_and_listed(caplog):
    with caplog.at_level(logging.WARNING):
        results = evaluate_retrieval({"undo": Undo()}, heard(SEGMENTS), subjects=["z", "a", "b"])
    assert "subject z has no test segment: its results are NaN" in [record.message for record in caplog.records]
    table = results.by_subject().query("model == 'undo'").set_index("subject")
    assert list(table.index) == ["z", "a", "b"]
    assert np.isnan(table.loc["z", "top1"])
    assert table.loc["a", "top1"] == 1
    with pytest.raises(ConfigError, match=r"does not name \['b'\]"):
        evaluate_retrieval({"undo": Undo()}, heard(SEGMENTS), subjects=["a"])


def test_subject_and_segment_are_enough():
    windows = heard(SEGMENTS, words=WORDS)
    windows.metadata, windows.levels = windows.metadata[["patient", "segment"]], ("patient",)
    results = evaluate_retrieval({"undo": Undo(), "linear": BackwardModel().fit(windows)}, windows)
    assert (results.table["rank"] == 1).all()
    assert results.metrics == ("top1", "top5", "top10", "median_relative_rank")
    windows.speech[107, 0, 0] = np.nan
    with pytest.raises(DataError, match="features of segment 107 hold NaN"):
        evaluate_retrieval({"undo": Undo()}, windows)


def test_what_cannot_be_judged_is_refused():
    windows = heard(SEGMENTS)
    with pytest.raises(ConfigError, match="top-10 accuracy among 10 candidates"):
        evaluate_retrieval({"undo": Undo()}, heard(SEGMENTS[:10]))
    with pytest.raises(ConfigError, match="name one at least"):
        evaluate_retrieval({}, windows)
    with pytest.raises(ConfigError, match="none 'chance'"):
        evaluate_retrieval({"chance": Undo()}, windows)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        evaluate_retrieval({"undo": Undo()}, windows, batch_size=0)
    with pytest.raises(DataError, match="test set is empty"):
        evaluate_retrieval({"undo": Undo()}, windows.select(np.arange(0)))

    class Short(Constant):
        def predict(self, batch):
            return torch.zeros(len(batch), 3, 79)

    with pytest.raises(DataError, match=r"short: windows \(50, 3, 79\) and candidates \(25, 3, 80\)"):
        evaluate_retrieval({"short": Short()}, windows)


def test_missing_numbers_are_named():
    windows = heard(SEGMENTS)
    windows.signals[31, 2, 5] = np.nan
    with pytest.raises(DataError, match=r"undo: the model gives NaN or infinity for window 31, of subject b:"):
        evaluate_retrieval({"undo": Undo()}, windows, batch_size=8)
    windows = heard(SEGMENTS)
    windows.speech[107, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"speech features of segment 107 \(sound2.wav, 7.0 s\) hold NaN"):
        evaluate_retrieval({"undo": Undo()}, windows)
    del windows.metadata["segment"]
    with pytest.raises(DataError, match=r"no columns \['segment'\]"):
        evaluate_retrieval({"undo": Undo()}, windows)
