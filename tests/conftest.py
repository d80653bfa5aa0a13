import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker a core

LONG = [
    "notebooks/test_notebooks.py",
    "test_docs.py",
    "cli/test_commands.py",
    "cli/test_sweep_command.py",
    "estimators/test_sktime.py",
    "encoders/test_export.py",
    "ddp/test_joined_batches.py",
    "ddp/test_resume.py",
    "ddp/test_cluster_configs.py",
    "ddp/test_two_processes.py",
    "ddp/test_ring.py",
    "cli/test_compiled_fit.py",
    "cli/test_interrupted.py",
    "cli/test_speech_command.py",
    "estimators/test_sklearn_checks.py",
    "test_benchmarks.py",
]
"""Files that take longest, below this folder; they are given out first, so that all workers end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; the others stay in their order."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path, len(LONG)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real recordings beside the checkout ({folder.name} not found)")
    return folder
