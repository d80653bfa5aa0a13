"""Any BIDS tree of EEG, MEG or iEEG, read by mne-bids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from tscl.data.datasets.base import natural_order
from tscl.data.datasets.folder import OpenStudy, read_labels
from tscl.data.preprocessing import MatchChannels
from tscl.data.readers import from_raw
from tscl.data.readers.mne_objects import cut_windows, pick_channels
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError

DATATYPES = ("eeg", "meg", "ieeg")


def read_bids(path: str, *, root: str) -> Recording:
    """Read one recording with its channel types, positions and events from the sidecar files.

    Parameters
    ----------
    path : str
        The recording.
    root : str
        Root of the BIDS tree.

    Raises
    ------
    DataError
        When mne-bids cannot read it, or it has no signals.
    """
    import mne_bids

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bids_path = mne_bids.get_bids_path_from_fname(path, check=False).update(root=root)
            raw = mne_bids.read_raw_bids(bids_path, verbose="error").load_data(verbose="error")
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path} cannot be read by mne-bids ({type(error).__name__}: {said}): check it with the validator."
        ) from error
    return from_raw(raw, source=path)


class BIDSFolder(OpenStudy):
    """Any BIDS data set of EEG, MEG or iEEG; needs mne-bids (``pip install "tscl[bids]"``).

    ``sub-`` becomes the level ``patient``, ``ses-`` ``session`` (one for all where there is none), the file
    ``recording``; ``task`` and ``run`` are label columns, and so is every column of ``participants.tsv``.

    Parameters
    ----------
    datatype : {"eeg", "meg", "ieeg"}, default="eeg"
        Modality.
    tasks, subjects, sessions : sequence of str, optional
        Only these, without ``task-``, ``sub-``, ``ses-``; all otherwise.
    **recipe
        Target and preprocessing: see :class:`OpenStudy`.

    Raises
    ------
    ConfigError
        When mne-bids is not installed or the modality is another one.

    Examples
    --------
    >>> data = BIDSFolder(tasks=["rest"], target="group", types=["eeg"], sfreq=100).load("ds004504")  # doctest: +SKIP
    """

    name: ClassVar[str] = "bids"
    title: ClassVar[str] = "Any BIDS tree of EEG, MEG or iEEG"
    licence: ClassVar[str] = "yours"
    url: ClassVar[str] = "https://bids.neuroimaging.io"
    access: ClassVar[str] = (
        "Pass the root of a BIDS tree, the folder with dataset_description.json and sub-*/, as root."
    )
    patterns = ("sub-*/*/*.*", "sub-*/ses-*/*/*.*")
    levels = ("patient", "session", "recording", "trial")

    def __init__(
        self,
        datatype: str = "eeg",
        tasks: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        if datatype not in DATATYPES:
            raise ConfigError(f"bids: datatype={datatype!r} must be one of {', '.join(DATATYPES)}.")
        self.datatype, self.tasks, self.subjects, self.sessions = datatype, tasks, subjects, sessions

    def sources(self, root: Path) -> list[Source]:
        """One source a recording.

        Raises
        ------
        ConfigError
            When mne-bids is not installed.
        DataError
            When the tree has no such recording.
        """
        if find_spec("mne_bids") is None:
            raise ConfigError('reading a BIDS tree needs mne-bids: pip install "tscl[bids]".')
        import mne_bids

        found = mne_bids.find_matching_paths(
            root,
            datatypes=self.datatype,
            tasks=self.tasks,
            subjects=self.subjects,
            sessions=self.sessions,
            suffixes=self.datatype,
            extensions=list(mne_bids.config.reader),
            ignore_json=True,
            check=False,
        )
        by_path = {Path(bids_path.fpath): bids_path for bids_path in found}
        table = (
            read_labels(root / "participants.tsv", "participant_id") if (root / "participants.tsv").is_file() else {}
        )
        sources = []
        for path in natural_order(iter(by_path)):
            entity = by_path[path].entities
            patient = f"sub-{entity['subject']}"
            ids = {
                "patient": patient,
                "session": f"{patient}/ses-{entity['session'] or '1'}",
                "recording": path.name.split(".")[0],
            }
            labels = {"task": entity["task"], "run": entity["run"], **table.get(patient, {})}
            sources.append(Source(str(path), ids, labels, reader=partial(read_bids, root=str(root))))
        if not sources:
            raise DataError(f"{root} has no {self.datatype} recordings of the tasks, subjects and sessions asked for.")
        return self.complete(sources, {column for row in table.values() for column in row}, "participants.tsv")


def bids_windows(root: str | Path, window: float, overlap: float = 0.0, like: Channels | None = None) -> WindowDataset:
    """Cut all recordings of a BIDS tree into windows, as :func:`tscl.data.readers.from_mne` does with a Raw.

    Parameters
    ----------
    root : path
        Root of the tree; it has recordings of one modality.
    window : float
        Length of a window, s.
    overlap : float
        Part of a window that the next one repeats.
    like : Channels, optional
        Channels to bring all recordings to; by default the EEG, MEG or intracranial channels of the first recording.

    Returns
    -------
    WindowDataset
        With the ids of :class:`BIDSFolder`; signals are not filtered or scaled.

    Raises
    ------
    ConfigError
        When mne-bids is not installed, or the tree has several modalities.
    DataNotFoundError, DataError
        When there is no such tree, or a recording cannot be used.
    """
    if Path(root).is_file():
        raise DataError(f"{root} is a file: open it by mne.io.read_raw, or name the root of a BIDS tree.")
    root = BIDSFolder().find(root)
    places = ("sub-*", "sub-*/ses-*")
    kinds = [kind for kind in DATATYPES if any(next(root.glob(f"{place}/{kind}"), None) for place in places)]
    if len(kinds) > 1:
        raise ConfigError(
            f"{root} has recordings of {' and '.join(kinds)}: load those of one by BIDSFolder(datatype=...).load(root)."
        )
    study = BIDSFolder(kinds[0] if kinds else "eeg")
    sources = study.sources(root)
    if like is None:
        like = pick_channels(sources[0].load()[0].channels, None, sources[0].path)
    return cut_windows(sources, window, overlap, study.levels, [MatchChannels(like)])
