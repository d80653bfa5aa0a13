"""What the estimators are handed beside arrays: MNE objects, BIDS roots, window data sets of other channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tscl.data import Channels, WindowDataset
from tscl.data.preprocessing import match_windows
from tscl.data.readers.mne_objects import from_mne, is_mne
from tscl.errors import ConfigError, DataError


def is_recording(X: Any) -> bool:
    """Say whether ``X`` is a Raw, Epochs, a list of them, or the root of a BIDS tree."""
    return isinstance(X, (str, Path)) or is_mne(X)


def recording_windows(
    X: Any,
    window: float | None = None,
    y: Any = None,
    ids: Mapping[str, Any] | None = None,
    like: Channels | None = None,
) -> WindowDataset:
    """Return the windows of recordings.

    Parameters
    ----------
    X : Raw, Epochs, list of them, or path of a BIDS tree
    window : float, optional
        Seconds; Epochs do without.
    y : array with a label for every window, optional
    ids : mapping of str to ids, optional
        As :func:`~tscl.data.readers.from_mne` takes them; a BIDS tree has its own.
    like : Channels, optional
        What to bring them to.

    Raises
    ------
    ConfigError
        When ``window`` is missing, or ids are passed beside a BIDS tree.
    DataNotFoundError, DataError
        When there is no such tree, channels cannot be mapped, or ids or labels do not fit.
    """
    ids = dict(ids or {})
    if isinstance(X, (str, Path)):
        from tscl.data.datasets.bids import bids_windows

        if ids:
            raise ConfigError(f"a BIDS tree brings its own ids: do not pass {sorted(ids)} beside {X}.")
        if window is None:
            raise ConfigError(f"the recordings in {X} are continuous: give window, the seconds of a window.")
        data = bids_windows(X, window, like=like)
    else:
        patient, trial = ids.pop("patient", None), ids.pop("trial", None)
        data = from_mne(X, window=window, patient=patient, trial=trial, levels=ids, like=like)
    if y is None:
        return data
    labels = np.asarray(y)
    if labels.shape != (len(data),):
        raise DataError(f"y has shape {labels.shape} for {len(data)} windows: give one value a window.")
    table = data.metadata.assign(y=pd.Series(labels))
    return WindowDataset(data.signals, table, data.channels, data.levels, target="y")


def fitted_windows(X: Any, channels: Channels | None, window: float | None) -> Any:
    """Bring what a fitted model is handed to its channels; arrays stay as they are.

    Parameters
    ----------
    X : anything that an estimator takes
    channels : Channels or None
        Those of the model; not compared where nothing is known of them.
    window : float or None
        Seconds of the windows that it was fitted on; a Raw and a BIDS tree are cut so, Epochs stay whole.

    Raises
    ------
    ConfigError, DataError
        As :func:`recording_windows` says.
    """
    known = channels if channels is not None and channels.named else None
    if is_recording(X):
        whole = is_mne(X) and not _has_raw(X)
        return recording_windows(X, None if whole else window, like=known)
    if isinstance(X, WindowDataset) and known is not None:
        return match_windows(X, known)
    return X


def _has_raw(X: Any) -> bool:
    import mne

    return any(isinstance(one, mne.io.BaseRaw) for one in (X if isinstance(X, (list, tuple)) else [X]))
