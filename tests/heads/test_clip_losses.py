import math

import pytest
import torch

from tscl import functional as F
from tscl.errors import ConfigError
from tscl.losses import ClipLoss, RegressionLoss, SigLipLoss

Z, SPEECH, MORE = torch.randn(3, 5, 3, 8, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([0, 1, 0, 2, 3])


def test_the_paper_s_loss_has_no_temperature_to_learn():
    loss = ClipLoss()
    assert not list(loss.parameters())
    assert loss(Z, SPEECH) == F.clip_loss(Z, SPEECH)
    assert loss(Z, SPEECH, IDS, MORE) == F.clip_loss(Z, SPEECH, ids=IDS, negatives=MORE)
    assert loss(Z, SPEECH, IDS) != loss(Z, SPEECH)
    assert repr(loss) == "ClipLoss(symmetric=False, learned temperature=False)"


def test_clip_learns_its_temperature():
    loss = ClipLoss(temperature=0.07, symmetric=True)
    expected = F.clip_loss(Z, SPEECH, log_scale=torch.tensor(-math.log(0.07)), symmetric=True)
    torch.testing.assert_close(loss(Z, SPEECH), expected)
    loss(Z, SPEECH).backward()
    assert loss.log_scale.grad.abs() > 0
    torch.testing.assert_close(loss(5 * Z, SPEECH), loss(Z, SPEECH))


def test_siglip_learns_temperature_and_bias():
    loss = SigLipLoss(temperature=0.5, bias=-2.0)
    assert loss(Z, SPEECH, IDS) == F.siglip_loss(Z, SPEECH, torch.tensor(math.log(2)), torch.tensor(-2.0), ids=IDS)
    loss(Z, SPEECH).backward()
    assert {name for name, one in loss.named_parameters() if one.grad.abs() > 0} == {"log_scale", "bias"}


def test_regression_is_the_mean_squared_error():
    torch.testing.assert_close(RegressionLoss()(Z, SPEECH, IDS), ((Z - SPEECH) ** 2).mean())
    assert RegressionLoss()(Z.bfloat16(), SPEECH).dtype == torch.float32
    with pytest.raises(ValueError, match=r"predicted features \(5, 3, 8\) and true ones \(1, 3, 8\) must be alike"):
        RegressionLoss()(Z, SPEECH[:1])


@pytest.mark.parametrize("temperature", [0.0, -0.1])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    for loss in (ClipLoss, SigLipLoss):
        with pytest.raises(ConfigError, match=f"the temperature is {temperature}: it must be positive"):
            loss(temperature)
