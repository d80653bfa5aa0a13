"""A run that is killed, and one that is interrupted, go on as if nothing had happened."""

import shutil
import signal
import time

import pandas as pd
import torch

from tscl.cli.main import main
from tscl.learners.checkpoint import AtomicCheckpointIO

BATCHES = 12


def wait_for_mid_epoch(process, last):
    """Return the step of the checkpoint, once it lies within an epoch after the first."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if last.exists():
            step = torch.load(last, weights_only=True)["global_step"]
            if step > BATCHES and 2 <= step % BATCHES <= 4:
                return step
        time.sleep(0.01)
    raise AssertionError("no checkpoint within an epoch")


def test_killed_in_mid_epoch_and_resumed_it_ends_bit_for_bit_the_same(tmp_path, config, start, tscl, finished):
    run = tmp_path / "run"
    path = config(tmp_path / "config.yaml", run=run)
    process = start("fit", "--config", path)
    last = run / "checkpoints" / "last.ckpt"
    wait_for_mid_epoch(process, last)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    step = torch.load(last, weights_only=True)["global_step"]
    assert step % BATCHES != 0
    assert not (run / "encoder.safetensors").exists()
    assert len(pd.read_csv(run / "metrics.csv")) == step // BATCHES

    status, _, err = tscl("fit", "--config", path, "--ckpt_path", "last")
    assert status == 0, err
    for name in ("encoder.safetensors", "metrics.csv"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), f"{name} after a resume at step {step}"
    ours, theirs = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (run, finished))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert all(torch.equal(value, theirs["state_dict"][name]) for name, value in ours["state_dict"].items())


def test_interrupted_it_says_how_to_go_on(tmp_path, config, start):
    run = tmp_path / "run"
    process = start("fit", "--config", config(tmp_path / "config.yaml", run=run, epochs=100))
    wait_for_mid_epoch(process, run / "checkpoints" / "last.ckpt")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: resume with --ckpt_path last" in err
    assert "Traceback" not in err
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > BATCHES
    assert not list(run.rglob("*.tmp"))


def test_resume_at_every_step(tmp_path, config, monkeypatch, capsys):
    """A kill may come at any step, also at the last of an epoch: try them all, in this process."""
    kept = tmp_path / "kept"
    kept.mkdir()
    save = AtomicCheckpointIO.save_checkpoint

    def save_and_keep(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        shutil.copy(path, kept / f"{checkpoint['global_step']:02d}.ckpt")

    sizes = {"batch_size": 40, "epochs": 2}
    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save_and_keep)
        assert main(["fit", "--config", config(tmp_path / "whole.yaml", run=tmp_path / "whole", **sizes)]) == 0
    checkpoints = sorted(kept.iterdir())
    assert len(checkpoints) == 8
    for checkpoint in checkpoints[:-1]:
        run = tmp_path / checkpoint.stem
        path = config(tmp_path / f"{checkpoint.stem}.yaml", run=run, **sizes)
        assert main(["fit", "--config", path, "--ckpt_path", str(checkpoint)]) == 0
        for name in ("encoder.safetensors", "metrics.csv"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), f"{name}, {checkpoint.name}"

    run = tmp_path / "other"
    path = config(tmp_path / "other.yaml", run=run, **{**sizes, "batch_size": 30})
    assert main(["fit", "--config", path, "--ckpt_path", str(checkpoints[5])]) == 1
    assert "the saved run had batch_size=40" in capsys.readouterr().err
    assert not run.exists()
