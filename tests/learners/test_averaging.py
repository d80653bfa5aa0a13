import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tscl.learners.averaging import AveragedWeights


def changing(steps=4):
    """A network with a normalisation, and what it becomes in every step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for _ in range(steps):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.copy_(tensor + 1 if tensor.dtype == torch.int64 else torch.randn(tensor.shape))
        yield model


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_average_is_that_of_torch(decay):
    ours = theirs = None
    for model in changing():
        ours = ours or AveragedWeights(model, decay)
        average = None if decay is None else get_ema_multi_avg_fn(decay)
        theirs = theirs or AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        ours.update_parameters(model)
        theirs.update_parameters(model)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert state.keys() == expected.keys()
    assert state["n_averaged"] == 4
    assert state["module.1.num_batches_tracked"] == 4, "a count is no mean"
    for name, value in state.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], msg=name)


def test_the_first_step_is_taken_as_it_is():
    for model in changing(1):
        for decay in (None, 0.9):
            average = AveragedWeights(model, decay)
            nn.init.zeros_(average.module[0].weight)
            average.update_parameters(model)
            assert torch.equal(average.module[0].weight, model[0].weight)
