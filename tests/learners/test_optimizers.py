import copy

import pytest
import torch
from test_contrastive import COMET_HEADS, COMET_VIEWS, encoder, trainer, windows

from tscl.data import WindowDataModule
from tscl.learners import ContrastiveLearner
from tscl.learners.optimizers import adamw


def test_it_is_adamw():
    torch.manual_seed(0)
    ours = torch.nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    steps = [
        adamw(ours.parameters(), lr=0.1, weight_decay=0.2),
        torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.2, foreach=False),
    ]
    for _ in range(5):
        x = torch.randn(6, 4)
        for model, optimizer in zip((ours, theirs), steps, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_can_be_clipped(precision):
    learner = ContrastiveLearner(encoder(), COMET_HEADS, COMET_VIEWS, lr=1e-3)
    norms = []
    learner.on_before_zero_grad = lambda _: norms.extend(  # the gradients of the step before
        [torch.nn.utils.get_total_norm([p.grad for p in learner.encoder.parameters() if p.grad is not None])]
    )
    fitting = trainer(precision=precision, gradient_clip_val=1e-3, max_epochs=2)
    fitting.fit(learner, datamodule=WindowDataModule(windows(), batch_size=16, seed=0))
    assert any(norm > 0 for norm in norms)
    assert all(norm <= 1.001e-3 for norm in norms)
