"""The layout into which the authors of COMET turned their three data sets, as sources."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tscl.data.readers import read_comet_layout
from tscl.data.recording import Recording
from tscl.data.sources import Source


def is_processed(root: Path) -> bool:
    """Say whether ``root`` holds ``Feature/`` and ``Label/``."""
    return (root / "Feature").is_dir() and (root / "Label").is_dir()


def read_processed(
    path: str,
    *,
    target: str,
    sfreq: float,
    names: tuple[str, ...] | None,
    kind: str,
    unit: str,
    people: frozenset[str] | None,
) -> list[Recording]:
    """Read the layout below ``path``; name its label column ``target`` and leave out other ``people``."""
    kept = []
    for recording in read_comet_layout(path, sfreq=sfreq, ch_names=names, ch_types=kind, unit=unit):
        if people is None or recording.ids["patient"] in people:
            recording.labels = {target: recording.labels["label"]}
            kept.append(recording)
    return kept


def processed_sources(
    root: Path,
    target: str,
    *,
    sfreq: float,
    kind: str,
    unit: str,
    names: tuple[str, ...] | None = None,
    people: frozenset[str] | None = None,
) -> list[Source]:
    """Return the one source that reads the authors' layout.

    Parameters
    ----------
    root : Path
        Folder with ``Feature/feature_ID.npy``, each ``(trials, T, C)``, and ``Label/label.npy``, ``(people, 2)``.
    target : str
        Name of the label column.
    sfreq : float
        Sampling rate, Hz.
    kind, unit : str
        Channel type and unit.
    names : tuple of str, optional
        Channel names.
    people : frozenset of str, optional
        Ids to keep; all by default.
    """
    reader = partial(read_processed, target=target, sfreq=sfreq, names=names, kind=kind, unit=unit, people=people)
    return [Source(str(root), reader=reader)]
