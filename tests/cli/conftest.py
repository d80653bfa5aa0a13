"""A small run that the tests of the command line share, and how the command is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """\
seed_everything: {seed}
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder:
      class_path: tscl.encoders.DilatedConvEncoder
      init_args: {{dim: 8, hidden: 8, depth: 2}}
    heads:
      - {{class_path: tscl.heads.ObservationHead, init_args: {{weight: 0.25}}}}
      - {{class_path: tscl.heads.SampleHead, init_args: {{weight: 0.25}}}}
      - {{class_path: tscl.heads.GroupHead, init_args: {{level: trial, weight: 0.25}}}}
      - {{class_path: tscl.heads.GroupHead, init_args: {{level: patient, weight: 0.25}}}}
    views:
      clean: tscl.augmenters.Identity
      masked: {{class_path: tscl.augmenters.LatentMask, init_args: {{kind: continuous}}}}
    lr: 1.0e-3
data:
  class_path: tscl.data.CohortDataModule
  init_args:
    study: {study}
    batch_size: {batch_size}
    split: {{val: 0.2, test: 0.3, seed: 0}}
trainer:
  accelerator: cpu
  default_root_dir: {run}
  max_epochs: {epochs}
  enable_progress_bar: false
  callbacks:
    - {{class_path: tscl.learners.OnlineProbe, init_args: {{every_n_epochs: 2}}}}
checkpoint_every: 1
"""
SIMULATED = "{class_path: tscl.data.datasets.SimulatedECG, init_args: {n_patients: 16, n_trials: 3}}"
"""240 windows of 16 patients."""


def config_text(run, study=SIMULATED, seed=0, batch_size=12, epochs=3):
    return CONFIG.format(run=run, study=study, seed=seed, batch_size=batch_size, epochs=epochs)


@pytest.fixture(scope="session")
def config():
    """Write a configuration file: ``config(path, run=folder, ...)`` returns the path as text."""

    def write(path, **fields):
        Path(path).write_text(config_text(**fields))
        return str(path)

    return write


@pytest.fixture(scope="session")
def start():
    """Start the command as a process of its own: ``start("fit", ...)`` returns a ``Popen``."""

    def popen(*args):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        return subprocess.Popen(
            [sys.executable, "-m", "tscl.cli.main", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return popen


@pytest.fixture(scope="session")
def tscl(start):
    """Run the command to its end: returns exit status, stdout and stderr."""

    def run(*args):
        process = start(*args)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config, tscl):
    """A finished run of three epochs of twelve batches; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    code, out, err = tscl("fit", "--config", config(folder / "config.yaml", run=folder / "run"))
    assert code == 0, err
    return folder / "run"
