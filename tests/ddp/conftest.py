"""``tscl fit`` on several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("fits.py")


@pytest.fixture(scope="session", autouse=True)
def _gloo():
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo backend")


@pytest.fixture(scope="session")
def fit():
    """Fit runs one after the other in the same processes: ``fit(folder, words, ...)``, with a list of words for each.

    Classes of their own may be in the folder.
    """

    def run(folder, *runs):
        path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        command = [sys.executable, str(SCRIPT), json.dumps(runs)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr

    return run
