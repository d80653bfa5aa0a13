"""A study of people listening to speech, prepared: continuous recordings on disk or in memory, words, and sounds."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pandas as pd

from tscl.data.cachekey import cache_key, file_hash
from tscl.data.preprocessing.pipeline import check_finite
from tscl.data.preprocessing.steps import Step
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.data.speech.positions import flat_positions, with_montage
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.sounds import sound_seconds
from tscl.data.speech.study import SpeechStudy
from tscl.data.streaming import Skipped, over_recordings
from tscl.errors import ConfigError, DataError
from tscl.files import atomic_folder

log = logging.getLogger("tscl")

CORPUS_VERSION = 1
SLACK = 0.1
"""Seconds by which labels may be off: a word may end so far behind its sound file."""
TABLES = frozenset({".csv", ".json", ".textgrid", ".tsv", ".txt"})
"""Suffixes of files from which words are read."""


@dataclass
class Listened:
    """One prepared recording of a corpus.

    Attributes
    ----------
    data : ndarray or memmap, shape (C, T), float32
        Signals after the study's steps; NaN where missing.
    channels : Channels
        What the rows are.
    ids : dict of str to str
        Ids of the recording, ``patient`` first.
    source : str
        File.
    positions : ndarray, shape (C, 2), float32
        Sensors on the unit square; see :func:`~tscl.data.speech.flat_positions`.
    """

    data: np.ndarray
    channels: Channels
    ids: dict[str, str]
    source: str
    positions: np.ndarray


@dataclass
class SpeechCorpus:
    """Recordings, the words heard in them, and what was left out.

    Attributes
    ----------
    recordings : list of Listened
        One a recording, all at one sampling rate.
    words : DataFrame, a row a word of a recording
        The columns of :class:`~tscl.data.speech.SpeechRecording`, and ``recording`` (index into ``recordings``).
    seconds : dict of str to float
        Length of every sound file, s, by its path.
    skipped : list of (str, str)
        Source and reason of what was left out.
    """

    recordings: list[Listened]
    words: pd.DataFrame
    seconds: dict[str, float]
    skipped: Sequence[tuple[str, str]] = field(default_factory=list)

    @property
    def sfreq(self) -> float:
        """Sampling rate, Hz."""
        return self.recordings[0].channels.sfreq

    @property
    def subjects(self) -> list[str]:
        """Subjects in natural order."""
        return sorted({one.ids["patient"] for one in self.recordings})

    @property
    def sounds(self) -> list[str]:
        """Paths of the sound files, sorted."""
        return sorted(self.seconds)

    def grid(self, stride: float) -> pd.DataFrame:
        """Return moments every ``stride`` seconds of the heard speech, as rows like those of ``words``.

        They run from the first to the last word of each sound, each time that it was heard. A moment belongs to the
        sequence of the latest word, and has that word's distance between recording and sound; it has no word and no
        duration of its own.
        """
        parts = []
        back = self.words.groupby(["recording", "sound"])["sound_onset"].diff() < -SLACK
        again = back.groupby([self.words["recording"], self.words["sound"]]).cumsum().rename("again")
        for (recording, sound, _), heard in self.words.groupby(["recording", "sound", again], sort=False):
            heard = heard.sort_values("sound_onset", kind="stable")
            first, last = heard["sound_onset"].iloc[0], heard["sound_onset"].iloc[-1]
            moments = np.arange(np.ceil(first / stride), np.floor(last / stride) + 1) * stride
            row = np.searchsorted(heard["sound_onset"].to_numpy(), moments + 1e-9, side="right") - 1
            latest = heard.iloc[np.maximum(row, 0)]
            parts.append(
                pd.DataFrame(
                    {
                        "onset": moments + (latest["onset"] - latest["sound_onset"]).to_numpy(),
                        "duration": 0.0,
                        "word": None,
                        "sequence": latest["sequence"].to_numpy(),
                        "sound": sound,
                        "sound_onset": moments,
                        "recording": recording,
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        minutes = sum(one.data.shape[1] for one in self.recordings) / self.sfreq / 60
        heard = sum(self.seconds.values()) / 60
        return (
            f"SpeechCorpus({len(self.subjects)} subjects, {len(self.recordings)} recordings ({minutes:.1f} min) at "
            f"{self.sfreq:g} Hz, {len(self.sounds)} sounds ({heard:.1f} min))"
        )


def load_speech(
    study: SpeechStudy,
    root: str | Path | None = None,
    *,
    speech: str | Path | None = None,
    steps: Sequence[Step] | None = None,
    montage: str | None = None,
    cache: str | Path | None = None,
    n_jobs: int = 1,
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool = False,
) -> SpeechCorpus:
    """Read a study's recordings, prepare them, and check their words against recordings and sound files.

    Parameters
    ----------
    study : SpeechStudy
    root : path, optional
        Folder of the study; see :meth:`tscl.data.datasets.Study.find`.
    speech : path, optional
        Folder of the sound files where it is not the study's own; the speech to simulate with, for the simulated study.
    steps : sequence of Step, optional
        What is done to each recording; the steps of ``study.preprocessing()`` by default (Defossez et al. 2023).
    montage : str, optional
        Montage of mne such as ``"easycap-M1"``, for the positions of sensors by their names, instead of the files'
        own.
    cache : path, optional
        Folder in which prepared recordings are kept, by content and parameters, and opened as memory maps.
    n_jobs : int
        Recordings that are worked on at the same time.
    on_error : {"raise", "skip"}
        Whether an unusable recording ends the loading or is left out and listed in ``skipped``.
    progress : bool
        Show a progress bar.

    Raises
    ------
    DataNotFoundError
        When recordings or sound files are not found.
    DataError
        When a recording or a sound cannot be used, or nothing is left.
    ConfigError
        When ``on_error`` is neither of the two.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error={on_error!r}: choose 'raise' or 'skip'.")
    study.speech = None if speech is None else Path(speech)
    found = study.find(root)
    sources = study.sources(found)
    steps = list(study.preprocessing().steps if steps is None else steps)
    if cache is None:
        return _corpus(*_read_all(sources, _Prepare(steps, montage, None), n_jobs, on_error, progress))
    key = cache_key(sources, steps, montage, on_error, _digest_beside(study, found, sources), CORPUS_VERSION)
    folder = Path(cache) / f"speech-{key[:32]}"
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            prepare = _Prepare(steps, montage, temporary)
            _describe(temporary, *_read_all(sources, prepare, n_jobs, on_error, progress))
    return _corpus(*_open(folder))


Prepared = tuple[Listened, pd.DataFrame]


@dataclass(frozen=True)
class _Prepare:
    """What is done to every recording; picklable, so that it can be done in another process.

    With a folder the signals are put into a file there, and its name in their place.
    """

    steps: Sequence[Step]
    montage: str | None
    folder: Path | None

    def __call__(self, recording: Recording) -> Prepared:
        where = recording.source or recording.name
        if not isinstance(recording, SpeechRecording):
            raise DataError(f"{where}: the reader knows no heard words: it must give a SpeechRecording.")
        check_finite(recording)
        changed: Any = recording
        for step in self.steps:
            changed = step(changed)
        channels = changed.channels if self.montage is None else with_montage(changed.channels, self.montage)
        data: Any = changed.data
        if self.folder is not None:
            data = f"{uuid4().hex}.npy"
            np.save(self.folder / data, changed.data)
        return Listened(data, channels, changed.ids, changed.source, flat_positions(channels, where)), recording.words


def _read_all(
    sources: Sequence[Source], prepare: _Prepare, n_jobs: int, on_error: str, progress: bool
) -> tuple[list[Prepared], Skipped]:
    done, skipped = over_recordings(sources, prepare, n_jobs, on_error, progress)
    if not done:
        reason = skipped[0][1] if skipped else "the study lists none."
        raise DataError(f"no recording of {len(sources)} could be used; the first reason: {reason}")
    if skipped:
        log.warning("%d recordings left out, the first: %s", len(skipped), skipped[0][1])
    return done, skipped


def _corpus(done: list[Prepared], skipped: Skipped) -> SpeechCorpus:
    first = done[0][0]
    for one, _ in done:
        if one.channels.sfreq != first.channels.sfreq:
            raise DataError(
                f"{one.source} is at {one.channels.sfreq:g} Hz and {first.source} at {first.channels.sfreq:g} Hz: add "
                "Resample to the steps."
            )
    words = pd.concat([table.assign(recording=number) for number, (_, table) in enumerate(done)], ignore_index=True)
    seconds = {path: sound_seconds(path) for path in sorted(words["sound"].unique())}
    late = words["sound_onset"] + words["duration"] - words["sound"].map(seconds)
    if (late > SLACK).any():
        row = words.iloc[int(late.to_numpy().argmax())]
        raise DataError(
            f"{row['sound']} lasts {seconds[row['sound']]:.2f} s, but {int((late > SLACK).sum())} words end behind it, "
            f"the last at {row['sound_onset'] + row['duration']:.2f} s: the file is cut off, or the events belong to "
            "another one."
        )
    return SpeechCorpus([one for one, _ in done], words, seconds, skipped)


def _digest_beside(study: SpeechStudy, root: Path, sources: Sequence[Source]) -> str:
    """Describe what is read beside the recordings: words, files that readers name, sounds to simulate with."""
    named = [value for source in sources for value in getattr(source.reader, "keywords", {}).values()]
    paths = {path for one in named if isinstance(one, str) and (path := Path(one)).is_file()}
    for folder in ([root] if study.patterns else []) + ([study.speech] if study.speech is not None else []):
        paths.update(path for path in folder.rglob("*") if path.suffix.lower() in TABLES and path.is_file())
    if study.speech is not None:
        paths.update(study.speech.glob("*.wav"))
    return sha256("\n".join(f"{path} {file_hash(path)}" for path in sorted(paths)).encode()).hexdigest()


def _describe(folder: Path, done: list[Prepared], skipped: Skipped) -> None:
    """Name the signals that lie in the folder by source and recording, and write what belongs to them."""
    source = pd.Series(pd.factorize(pd.Series([one.source for one, _ in done]))[0])
    files = [
        f"{number:05d}-{again:03d}.npy" for number, again in zip(source, source.groupby(source).cumcount(), strict=True)
    ]
    for (one, _), file in zip(done, files, strict=True):
        (folder / str(one.data)).rename(folder / file)
    described = [
        {
            "file": file,
            "channels": one.channels.to_dict(),
            "ids": one.ids,
            "source": one.source,
            "positions": one.positions.astype(float).tolist(),
        }
        for (one, _), file in zip(done, files, strict=True)
    ]
    table = pd.concat([words.assign(recording=number) for number, (_, words) in enumerate(done)], ignore_index=True)
    table.to_parquet(folder / "words.parquet")
    (folder / "corpus.json").write_text(json.dumps({"recordings": described, "skipped": skipped}))


def _open(folder: Path) -> tuple[list[Prepared], Skipped]:
    try:
        info = json.loads((folder / "corpus.json").read_text())
        table = pd.read_parquet(folder / "words.parquet")
        done = []
        for number, described in enumerate(info["recordings"]):
            one = Listened(
                np.load(folder / described["file"], mmap_mode="r", allow_pickle=False),
                Channels.from_dict(described["channels"]),
                described["ids"],
                described["source"],
                np.array(described["positions"], dtype=np.float32),
            )
            done.append((one, table[table["recording"] == number].drop(columns="recording").reset_index(drop=True)))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is damaged ({error}): delete it and prepare the study again.") from error
    return done, [(source, reason) for source, reason in info["skipped"]]
