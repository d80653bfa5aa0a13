import importlib.util
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
LARGEST = 300_000
"""Bytes of a notebook with its outputs."""


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def figures(notebook) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


SHORT = {r"max_epochs=\d+": "max_epochs=1", r'"max_epochs": \d+': '"max_epochs": 1', r"minutes=4": "minutes=2"}


def shortened(notebook):
    """The notebook with few epochs."""
    for cell in notebook.cells:
        for long, short in SHORT.items():
            cell.source = re.sub(long, short, cell.source)
    return notebook


def check(notebook) -> None:
    """No error, no progress bar or warning, no place of the machine it ran on."""
    assert {output["output_type"] for output in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    assert [output["text"] for output in outputs(notebook) if output.get("name") == "stderr"] == []
    said = json.dumps([[output.get("text"), output.get("data", {}).get("text/plain")] for output in outputs(notebook)])
    assert re.findall(r"/(?:tmp|home|root|work|Users)/\S*|%\|", said) == []


def test_there_are_five():
    assert [script.stem[:2] for script in SCRIPTS] == ["01", "02", "03", "04", "05"]
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_and_notebook_are_one(script):
    stored = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    described = module("execute").from_script(script)
    assert [(cell.cell_type, cell.source) for cell in stored.cells] == [
        (cell.cell_type, cell.source) for cell in described.cells
    ], f"run: python notebooks/execute.py {script.stem}"
    assert stored.metadata == described.metadata


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_outputs_that_are_kept(script):
    path = script.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert figures(notebook) > 0
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_says_which_line_to_change(script):
    first_cells = script.read_text().split("# %%\n")[1]
    assert "the one line to change" in first_cells


@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs(script, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(FOLDER.iterdir())
    execute = module("execute")
    from_script = execute.from_script
    monkeypatch.setattr(execute, "from_script", lambda script: shortened(from_script(script)))
    notebook = execute.execute(script)
    check(notebook)
    stored = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert figures(notebook) == figures(stored)
    assert [path for path in sorted(FOLDER.iterdir()) if path.name != "__pycache__" and path not in before] == []


def test_own_parts_are_thirty_lines_that_do_what_they_say():
    text = (FOLDER / "own_parts.py").read_text()
    assert len([line for line in text.splitlines() if line.strip() and '"""' not in line]) <= 30
    parts = module("own_parts")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    b += a
    across = np.corrcoef(a, b, rowvar=False)[:4, 4:] * (49 / 50)
    wanted = 0.95 * np.mean((np.diag(across) - 1) ** 2) + 0.05 * np.mean((across - np.eye(4)) ** 2)
    assert float(parts.decorrelation(torch.tensor(a), torch.tensor(b))) == pytest.approx(wanted, rel=1e-4)
    encoder = parts.GRUEncoder(3, dim=8).eval()
    x = torch.randn(2, 3, 20)
    x[0, :, 5] = torch.nan
    assert encoder(x).shape == (2, 8, 20)
    assert encoder(x).isfinite().all()
    assert parts.GRUEncoder(**encoder.config())(x).shape == (2, 8, 20)
