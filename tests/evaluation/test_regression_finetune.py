import numpy as np
import pandas as pd
import pytest
import torch

from tscl.data import Channels, WindowDataset
from tscl.encoders import DilatedConvEncoder
from tscl.errors import DataError
from tscl.evaluation import RegressionFineTuner

FAST = {"max_epochs": 12, "lr": 1e-2, "batch_size": 16, "hidden": 16, "accelerator": "cpu"}


def windows(y, seed=0):
    """Noise around a level that grows with the label."""
    rng = np.random.default_rng(seed)
    level = np.nan_to_num(pd.to_numeric(pd.Series(y), errors="coerce").to_numpy(dtype=float), posinf=0)
    x = rng.normal(size=(len(y), 1, 20)) * 0.2 + level[:, None, None] / 10
    return WindowDataset(x.astype("float32"), pd.DataFrame({"y": y}), Channels(("a",), ("eeg",), "uV", 1.0), (), "y")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return DilatedConvEncoder(1, dim=6, hidden=4, depth=1)


def test_the_number_is_learnt_and_the_best_epoch_kept(encoder):
    y = np.random.default_rng(1).uniform(0, 30, 80)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    tuner = RegressionFineTuner(encoder, **FAST).fit(windows(y[:60]), windows(y[60:]))
    unseen = np.random.default_rng(2).uniform(0, 30, 40)
    assert np.corrcoef(tuner.predict(windows(unseen, seed=2)), unseen)[0, 1] > 0.9
    losses = [row["val_loss"] for row in tuner.history_]
    assert tuner.best_epoch_ == int(np.argmin(losses))
    error = np.square(tuner.predict(windows(y[60:])) - y[60:]).mean() / y[:60].var()
    assert error == pytest.approx(min(losses), rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_windows_without_a_number_are_left_out(encoder):
    y = np.arange(20.0)
    y[[3, 7]] = np.nan
    data = windows(y)
    whole = RegressionFineTuner(encoder, **FAST).fit(data).predict(data)
    part = RegressionFineTuner(encoder, **FAST).fit(data.select(~np.isnan(y))).predict(data)
    np.testing.assert_array_equal(whole, part)


def test_what_cannot_be_learnt_is_said(encoder):
    tuner = RegressionFineTuner(encoder, **FAST)
    data = windows(np.arange(8.0))
    with pytest.raises(DataError, match="training windows have no target"):
        tuner.fit(data.with_target(None))
    with pytest.raises(DataError, match="'y' holds values that are no numbers"):
        tuner.fit(windows(np.full(8, "old")))
    with pytest.raises(DataError, match="'y' holds infinite values"):
        tuner.fit(windows(np.full(8, np.inf)))
    with pytest.raises(DataError, match="no training window has a label"):
        tuner.fit(windows(np.full(8, np.nan)))
    with pytest.raises(DataError, match="one training window has a label"):
        tuner.fit(data.select([0]))
    with pytest.raises(DataError, match="no validation window has a label"):
        tuner.fit(data, windows(np.full(8, np.nan)))
