"""Execute the notebooks: every script becomes the .ipynb of its name, with the outputs of a fresh run.

    python notebooks/execute.py [01_eeg_folder ...]

Without names all are executed. What a run would change for no reason (cell ids, execution times, versions) is set to
the same values, so that a second run gives a small difference.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, where there are no widgets
}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts() -> list[Path]:
    """Return the scripts of all notebooks, in their order."""
    return sorted(HERE.glob("[0-9]*.py"))


def from_script(script: Path) -> nbformat.NotebookNode:
    """Return the notebook that a script describes, without outputs."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.NotebookNode(kernelspec=dict(KERNEL), language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.NotebookNode()
    return notebook


def execute(script: Path, timeout: int = 900) -> nbformat.NotebookNode:
    """Return the notebook of a script, executed beside it.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        With the cell and its error, when one fails.
    """
    notebook = from_script(script)
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name=KERNEL["name"], resources={"metadata": {"path": str(script.parent)}}
    )
    client.record_timing = False
    client.execute(env={**os.environ, **ENVIRONMENT})
    notebook.metadata = nbformat.NotebookNode(kernelspec=dict(KERNEL), language_info={"name": "python"})
    return notebook


def main() -> None:
    """Execute, write, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, such as 01_eeg_folder; all by default")
    names = parser.parse_args().names
    for script in [HERE / f"{name}.py" for name in names] or scripts():
        began = time.perf_counter()
        notebook = execute(script)
        target = script.with_suffix(".ipynb")
        nbformat.write(notebook, target)
        print(f"{target.name}: {time.perf_counter() - began:.0f} s, {target.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
