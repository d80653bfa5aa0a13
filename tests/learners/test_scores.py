"""Scores of positive and negative pairs in the log."""

import lightning as L
import numpy as np
import pytest
import torch
from test_contrastive import COMET_HEADS, COMET_VIEWS, encoder, trainer, windows

from tscl.data import WindowDataModule
from tscl.functional import pool_time
from tscl.heads import GroupHead, SampleHead
from tscl.learners import ContrastiveLearner
from tscl.learners.history import History
from tscl.learners.scores import WINDOWS, ScoreLog


def quantiles(row, name, side):
    return [row[f"score/{name}/{side}_{q}"] for q in ("q05", "q50", "q95")]


class Watch(L.Callback):
    """Keep what the learner compares in every step."""

    def __init__(self):
        self.seen = []

    def on_train_start(self, trainer, pl_module):
        losses = pl_module._view_losses

        def watched(view, batch):
            result = losses(view, batch)
            if view == next(iter(pl_module.views)):
                self.seen.append(({}, batch.levels))
            self.seen[-1][0][view] = [pool_time(z.detach()) for z in result[0]]
            return result

        pl_module._view_losses = watched


def by_hand(h1, h2, is_pair):
    scores = [
        float(torch.nn.functional.cosine_similarity(h1[i], h2[j], dim=0))
        for i in range(len(h1))
        for j in range(len(h2))
        if is_pair(i, j)
    ]
    return np.quantile(scores, [0.05, 0.5, 0.95]).tolist()


def test_every_epoch_tells_the_scores_of_its_first_batch():
    history, watch = History(), Watch()
    heads = [*COMET_HEADS[:3], GroupHead("patient", view="masked")]
    learner = ContrastiveLearner(encoder(), heads, COMET_VIEWS)
    module = WindowDataModule(windows(), batch_size=16, seed=0)
    trainer(max_epochs=3, callbacks=[history, watch]).fit(learner, datamodule=module)
    frame = history.frame()
    assert len(watch.seen) == 6
    for row, (pairs, levels) in zip(frame.to_dict("records"), watch.seen[::2], strict=True):
        h1, h2 = pairs["masked"]
        assert quantiles(row, "window", "positive") == pytest.approx(by_hand(h1, h2, lambda i, j: i == j), abs=1e-5)
        assert quantiles(row, "window", "negative") == pytest.approx(by_hand(h1, h2, lambda i, j: i != j), abs=1e-5)
        for name, view in (("trial", "clean"), ("patient", "masked")):
            ids, (h1, h2) = levels[name], pairs[view]
            alike = by_hand(h1, h2, lambda i, j, ids=ids: ids[i] == ids[j] and i != j)
            unlike = by_hand(h1, h2, lambda i, j, ids=ids: ids[i] != ids[j])
            assert quantiles(row, name, "positive") == pytest.approx(alike, abs=1e-5)
            assert quantiles(row, name, "negative") == pytest.approx(unlike, abs=1e-5)


def test_unknown_ids_are_in_no_pair_and_many_windows_are_cut():
    log = ScoreLog(["patient", "window"])
    h = torch.randn(2, 100, 4)
    ids = torch.arange(100) // 2
    ids[10:] = -1
    log.update("patient", *h, ids, twins=True)
    known = range(10)
    expected = by_hand(h[0], h[1], lambda i, j: i in known and j in known and ids[i] == ids[j])
    assert log.values[0, 0].tolist() == pytest.approx(expected, abs=1e-5)
    log.update("window", *h)
    expected = by_hand(h[0][:WINDOWS], h[1][:WINDOWS], lambda i, j: i != j)
    assert log.values[1, 1].tolist() == pytest.approx(expected, abs=1e-5)
    log.update("patient", *h, torch.full((100,), -1), twins=True)
    assert log.values[0].isnan().all()


def test_a_second_fit_logs_again():
    learner = ContrastiveLearner(encoder(), [SampleHead()], COMET_VIEWS)
    for _ in range(2):
        history = History()
        module = WindowDataModule(windows(), batch_size=64, seed=0)
        trainer(callbacks=[history]).fit(learner, datamodule=module)
        assert np.isfinite(history.frame()["score/window/positive_q50"]).all()
        assert list(history.frame().filter(like="score/").columns.str.split("/").str[1].unique()) == ["window"]
