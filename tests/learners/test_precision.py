"""Training in bfloat16 on a CPU: near single precision, with weights in single precision."""

import numpy as np
import pytest
import torch
from test_augmenter_training import learner as autotcl
from test_contrastive import COMET_HEADS, COMET_VIEWS, encoder, fit
from test_cross_modal import learner as brain
from test_cross_modal import module
from test_cross_modal import trainer as brain_trainer

from tscl.learners import ContrastiveLearner
from tscl.learners.history import History


def comet(precision, history):
    return fit(
        ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, lr=1e-3),
        epochs=3,
        precision=precision,
        callbacks=[history],
    )


def learned(precision, history):
    return fit(autotcl(), epochs=3, precision=precision, callbacks=[history])


def speech(precision, history):
    ours = brain()
    brain_trainer(max_epochs=3, precision=precision, callbacks=[history]).fit(ours, datamodule=module())
    return ours


@pytest.mark.parametrize("train", [comet, learned, speech])
def test_losses_are_near_those_of_single_precision(train):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        history = History()
        torch.manual_seed(0)
        trained = train(precision, history)
        losses[precision] = history.frame()["train/loss"].to_numpy()
        assert {value.dtype for value in trained.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert np.isfinite(losses["bf16-mixed"]).all()
    np.testing.assert_allclose(losses["bf16-mixed"], losses["32-true"], rtol=0.02)
    assert not np.array_equal(losses["bf16-mixed"], losses["32-true"]), "it was not trained in bfloat16"
