"""``tscl fit`` with a compiled encoder."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from tscl.cli.main import main
from tscl.encoders import Encoder


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler")
def test_a_compiled_run_is_like_another_and_is_resumed(tmp_path, config, capsys):
    sizes = {"batch_size": 24, "epochs": 2}
    short = ["--trainer.limit_train_batches", "3", "--model.encoder.depth", "1"]

    def fit(name, *options):
        path = config(tmp_path / f"{name}.yaml", run=tmp_path / name, **sizes)
        assert main(["fit", "--config", path, *short, *options]) == 0, capsys.readouterr().err
        return tmp_path / name

    eager = fit("eager")
    whole = fit("whole", "--model.compile", "true")
    fit("parts", "--model.compile", "true", "--trainer.max_steps", "3")
    parts = fit("parts", "--model.compile", "true", "--ckpt_path", "last")
    losses = [pd.read_csv(run / "metrics.csv")["train/loss"] for run in (eager, whole, parts)]
    encoders = [Encoder.from_pretrained(run) for run in (eager, whole, parts)]
    x = torch.randn(2, 4, 100)
    for other in (0, 2):
        np.testing.assert_allclose(losses[1], losses[other], rtol=1e-3)
        torch.testing.assert_close(encoders[1](x), encoders[other](x), rtol=1e-2, atol=1e-3)
    assert main(["embed", "--run", str(whole), "--out", str(tmp_path / "z.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "z.csv")) == 240
