"""What every study of people who listened to speech shares."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tscl.data.datasets.base import Study

if TYPE_CHECKING:
    from tscl.data.preprocessing import Preprocessing
    from tscl.data.sources import Source

SFREQ = 120.0
"""Sampling rate of brain signals and speech features (Hz) in Defossez et al. 2023."""


class SpeechStudy(Study):
    """A data set of M/EEG during speech. A subclass writes :meth:`sources`, whose readers give ``SpeechRecording``.

    The subject is the level ``patient``, as everywhere in tscl. ``load`` cuts the recordings into windows without their
    sounds, for COMET and the like; :class:`tscl.data.speech.SpeechDataModule` and :func:`tscl.data.speech.load_speech`
    keep the sounds beside the recordings.

    Attributes
    ----------
    speech : Path or None
        Folder of the sound files where it is not the study's own; set by ``load_speech`` and the data module.
    channel_types : tuple of str
        MNE channel types that are kept.
    """

    channel_types: ClassVar[tuple[str, ...]] = ("eeg",)
    levels: tuple[str, ...] = ("patient", "recording", "trial")
    speech: Path | None = None

    def __init__(self) -> None:
        super().__init__()

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if key not in ("expected", "speech"))
        return f"{type(self).__name__}({said})"

    @abstractmethod
    def sources(self, root: Path) -> list[Source]:
        """List the recordings below ``root``; each source's reader gives ``SpeechRecording``."""

    def preprocessing(self) -> Preprocessing:
        """Signal channels at 120 Hz, robust-scaled per recording; windows of 3 s (Defossez et al. 2023, methods)."""
        from tscl.data.preprocessing import PickChannels, Preprocessing, Resample, Scale, SlidingWindows

        steps: list[Any] = [PickChannels(types=list(self.channel_types)), Resample(SFREQ), Scale("robust")]
        return Preprocessing(steps=steps, windows=SlidingWindows(3.0, overlap=0.0))
