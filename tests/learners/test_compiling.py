import copy
import os
import shutil

import numpy as np
import pytest
import torch
from test_contrastive import COMET_HEADS, COMET_VIEWS, fit, windows
from test_cross_modal import module, trainer
from test_cross_modal import windows as speech_windows

from tscl.encoders import BrainConv, CausalConvEncoder, DilatedConvEncoder, base, encode_pair
from tscl.errors import ConfigError
from tscl.learners import ContrastiveLearner, CrossModalLearner
from tscl.learners.history import History
from tscl.types import View

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
)


@pytest.mark.parametrize("kind", [DilatedConvEncoder, CausalConvEncoder])
@pytest.mark.parametrize("chunk", [None, 2])
def test_the_encoder_is_one_graph_in_forward_and_backward(kind, chunk, monkeypatch):
    """Without a C++ compiler: the graphs are taken, and run as they are."""
    compiled = torch.compile(base._features, backend="aot_eager", fullgraph=True)
    calls = []
    monkeypatch.setattr(base, "_compiled", lambda: lambda *args: (calls.append(1), compiled(*args))[1])
    torch.compiler.reset()
    torch.manual_seed(0)
    encoder = kind(2, dim=4, hidden=4, depth=2, dropout=0.5)
    x, mask = torch.randn(4, 2, 16), torch.rand(4, 16) < 0.5
    pairs = [(View(x), View(x)), (View(x, mask), View(x, ~mask))]
    pairs[0] = (pairs[0][0], pairs[0][0])
    for number, pair in enumerate(pairs):
        said = []
        for use in (False, True):
            torch.manual_seed(1)
            z1, z2 = encode_pair(encoder, *pair, chunk_size=chunk, compiled=use)
            said.append([z1, z2, *torch.autograd.grad((z1 * z2.square()).sum(), list(encoder.parameters()))])
        torch.testing.assert_close(said[0], said[1])
        parts = 1 if chunk is None else 2 * 2  # in chunks each is encoded again in the backward pass
        assert len(calls) == parts * (1 if number == 0 else 2)
        calls.clear()


@needs_compiler
def test_training_compiled_is_training():
    losses, weights = [], []
    for compile in (False, True):
        torch.manual_seed(0)
        encoder = DilatedConvEncoder(2, dim=8, hidden=6, depth=2)
        learner, history = ContrastiveLearner(encoder, COMET_HEADS, COMET_VIEWS, compile=compile), History()
        names = list(learner.state_dict())
        fit(learner, callbacks=[history])
        losses.append(history.frame()["train/loss"])
        weights.append(learner.embedder.state_dict())
        assert list(learner.state_dict()) == names
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5, msg=name)
    copied = copy.deepcopy(learner.encoder).eval()
    x = windows()[np.arange(3)].x
    assert torch.equal(copied(x), learner.encoder.eval()(x))


@needs_compiler
def test_the_learner_of_two_modalities_trains_compiled():
    losses = []
    for compile in (False, True):
        learner, history = (
            CrossModalLearner(
                lambda *sizes: BrainConv(*sizes, virtual=6, hidden=8, depth=1, n_frequencies=3, spatial_dropout=0.0),
                lr=1e-2,
                compile=compile,
            ),
            History(),
        )
        learner.build(5, 3, 2)
        data = module(val=speech_windows(np.arange(20, 24)))
        trainer(max_epochs=2, callbacks=[history]).fit(learner, datamodule=data)
        losses.append(history.frame()[["train/loss", "val/loss"]].to_numpy())
    # A bias before a batch normalisation has a gradient of rounding errors alone, of which Adam makes whole steps.
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)


def test_without_a_compiler_it_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    encoder = DilatedConvEncoder(2, dim=8, hidden=6, depth=2)
    with pytest.raises(ConfigError, match="there is no no-such-compiler: install it"):
        fit(ContrastiveLearner(encoder, COMET_HEADS, COMET_VIEWS, compile=True))
