"""Where a recording comes from, and who and what it is: the unit of work of :func:`tscl.data.prepare.prepare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tscl.data.readers import read
from tscl.data.recording import Recording
from tscl.errors import DataError


@dataclass(frozen=True)
class Source:
    """A file (or folder) with the ids and labels that the study's table gives it.

    Parameters
    ----------
    path : str
        File or folder that ``reader`` opens; a name of its own for simulated recordings.
    ids : dict of str to str
        Ids of the levels above a trial, coarse to fine, such as ``{"patient": "P01", "recording": "P01_1"}``.
    labels : dict of str to Any
        Label columns.
    reader : callable, optional
        ``reader(path)`` gives a :class:`Recording` or a list of them. It must be picklable: a function of a module, or
        a ``functools.partial`` of one.

    Examples
    --------
    >>> from functools import partial
    >>> from tscl.data.readers import read_wfdb
    >>> Source("mitdb/100.hea", {"patient": "100"}, {"sex": "M"}, reader=partial(read_wfdb, annotation="atr")).ids
    {'patient': '100'}
    """

    path: str
    ids: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    reader: Callable[[str], Recording | Sequence[Recording]] = read

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(self.path))
        object.__setattr__(self, "ids", {level: str(value) for level, value in self.ids.items()})

    def load(self) -> list[Recording]:
        """Read the recordings and merge the ids and labels of the source into each of them.

        Returns
        -------
        list of Recording
            Ids of the source come first (they are the coarser ones); where both name an id or label, the source wins.

        Raises
        ------
        DataError
            When the reader cannot use the file or gives something else than recordings.
        """
        read_back = self.reader(self.path)
        recordings = [read_back] if isinstance(read_back, Recording) else list(read_back)
        for recording in recordings:
            if not isinstance(recording, Recording):
                raise DataError(f"{self.path}: the reader gave a {type(recording).__name__}, expected a Recording.")
            recording.ids = {**self.ids, **{k: v for k, v in recording.ids.items() if k not in self.ids}}
            recording.labels = {**recording.labels, **self.labels}
            recording.source = recording.source or self.path
        return recordings
