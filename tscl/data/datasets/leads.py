"""ECG records as every ECG study reads them: lead names in one spelling, header comments as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tscl.data.readers import read_wfdb
from tscl.data.recording import Recording
from tscl.errors import DataError

TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
FRANK_LEADS = ("Vx", "Vy", "Vz")
SPELLING = {name.lower(): name for name in (*TWELVE_LEADS, *FRANK_LEADS)}


def read_leads(path: str, annotation: str | None = None) -> Recording:
    """Read a WFDB record, its leads spelled as in ``TWELVE_LEADS`` whatever the header's spelling, no comments.

    Parameters
    ----------
    path : str
        Header file.
    annotation : str, optional
        Extension of an annotation file to read.

    Returns
    -------
    Recording
        In mV.
    """
    recording = read_wfdb(path, annotation=annotation)
    names = tuple(SPELLING.get(name.strip().lower(), name.strip()) for name in recording.channels.names)
    labels = {key: value for key, value in recording.labels.items() if key != "comments"}
    return replace(recording, channels=replace(recording.channels, names=names), labels=labels)


def header_comments(path: Path) -> list[str]:
    """Return the comment lines of a WFDB header without their ``#``; raises DataError when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fetch the header again.") from error
    return [line.lstrip("#").strip() for line in lines if line.startswith("#")]


def comment_value(comments: list[str], key: str) -> str | None:
    """Return what follows ``key:`` in the comments, None where the key is absent; upper and lower case are the same."""
    for line in comments:
        name, colon, value = line.partition(":")
        if colon and name.strip().strip("<>").lower() == key.lower():
            return value.strip()
    return None


def as_number(text: str | None) -> float:
    """Return the number in a text such as an age (``">89"`` is 89), NaN where there is none."""
    digits = (text or "").strip().lstrip("<>= ")
    try:
        return float(digits)
    except ValueError:
        return float("nan")
