"""``tscl datasets``: what is known, and what is found where."""

from __future__ import annotations

from pathlib import Path

from tscl.data import SERIES, find_series
from tscl.data.datasets import STUDIES, SimulatedSpeech, Study
from tscl.data.datasets.folder import OpenStudy
from tscl.data.datasets.simulation import SimulatedStudy
from tscl.errors import DataNotFoundError


def list_datasets(root: Path | None = None) -> None:
    """List the data sets known by name, and where their files were found.

    Args:
        root: Folder to look in; the environment variable TSCL_DATA names one as well.
    """
    for name, kind in STUDIES.items():
        print(f"{name}\n  {kind.title}")
        print(f"  found: {_found(kind, root)}")
        counts = ", ".join(f"{number} {what}" for what, number in kind.expected.items())
        for label, text in (
            ("complete", counts),
            ("licence", kind.licence),
            ("page", kind.url),
            ("access", kind.access),
        ):
            if text:
                print(f"  {label}: {text}")
        print()
    for name, spec in SERIES.items():
        print(f"{name}\n  {spec.title}")
        print(f"  found: {find_series(name, root) or 'no'}")
        print(f"  file: {' or '.join(spec.files)}")
        print(f"  licence: {spec.licence}\n  page: {spec.page}\n")
    print("Any CSV with a date column is a series as well: give its path, and the target or multivariate.")


def _found(kind: type[Study], root: Path | None) -> str:
    if issubclass(kind, (SimulatedStudy, SimulatedSpeech)):
        return "simulated, no files needed"
    if issubclass(kind, OpenStudy):
        return "wherever you point it to"
    try:
        return str(kind().find(root))
    except DataNotFoundError:
        return "no"
