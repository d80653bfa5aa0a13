"""``tscl fit`` on two processes, with a callback that reports what each of them saw."""

import json
import os
import subprocess
import sys

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _gloo():
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo backend")


@pytest.fixture(scope="session")
def fit():
    """Run the ``config.yaml`` of a folder, in which classes of its own may be: ``fit(folder, *options)``."""

    def run(folder, *options):
        path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        command = [sys.executable, "-m", "tscl.cli.main", "fit", "--config", str(folder / "config.yaml"), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory, fit):
    """Run a configuration: ``two_processes(spy, config)`` returns its folder and the report of each process."""

    def run(spy, config):
        folder = tmp_path_factory.mktemp("ddp")
        (folder / "spy.py").write_text(spy)
        (folder / "config.yaml").write_text(config.format(folder=folder))
        fit(folder)
        return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]

    return run
