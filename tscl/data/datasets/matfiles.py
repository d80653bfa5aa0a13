"""What the two EEG studies of speech in ``.mat`` files share: reading the files, positions, words in a recording."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tscl.errors import DataError, DataNotFoundError

log = logging.getLogger(__name__)


def read_mat(path: str | Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """Read variables of a MATLAB file up to version 7, structures as dicts and cells of text as arrays of ``str``.

    Parameters
    ----------
    path : path
        The file.
    names : sequence of str
        Variables that it must have.
    optional : sequence of str
        Variables that are read where they are there; no other one is read.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it is an HDF5 file (version 7.3), damaged, or lacks a variable.
    """
    from scipy.io import loadmat

    if not Path(path).is_file():
        raise DataNotFoundError(f"{path} does not exist: fetch it from the study's page.")
    try:
        found = loadmat(path, variable_names=[*names, *optional], simplify_cells=True)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a MATLAB 7.3 (HDF5) file, which is not read: load it in MATLAB and save it again with '-v7'."
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} cannot be read as a .mat file ({type(error).__name__}: {said}): fetch it again."
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} has no variable {missing[0]!r}: fetch the study's original file.")
    return {name: found[name] for name in (*names, *optional) if name in found}


def montage_positions(montage: str, names: Sequence[str]) -> np.ndarray:
    """Return the positions of electrodes in one of MNE's standard montages.

    Returns
    -------
    ndarray, shape (C, 3), float64
        Head coordinates, m.
    """
    import mne

    info = mne.create_info(list(names), sfreq=1.0, ch_types="eeg")
    info.set_montage(mne.channels.make_standard_montage(montage))
    return np.array([channel["loc"][:3] for channel in info["chs"]], dtype=float)


def words_inside(words: pd.DataFrame, duration: float, source: str) -> pd.DataFrame:
    """Drop the words whose onset lies outside the recording, with a logged warning.

    Where these are most of them, the times are wrong and nothing is dropped: ``SpeechRecording`` refuses such a table.

    Parameters
    ----------
    words : DataFrame
        With the column ``onset``, s.
    duration : float
        Length of the recording, s.
    source : str
        File of the recording, for the message.
    """
    outside = (words["onset"] < 0) | (words["onset"] >= duration)
    if not outside.any() or outside.mean() > 0.5:
        return words
    log.warning(
        "%s: %d of %d words were heard before or after the recording and are left out.",
        source,
        int(outside.sum()),
        len(words),
    )
    return words[~outside]
