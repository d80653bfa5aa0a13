"""A simulated study of people who listen to speech: real or synthetic sound, simulated MEG and EEG responses."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.representations import LogMel
from tscl.data.speech.sounds import read_sound
from tscl.data.speech.study import SFREQ, SpeechStudy
from tscl.data.speech.synthesis import synthesise_speech
from tscl.data.speech.words import words_of_sound
from tscl.errors import ConfigError, DataNotFoundError

MEG_LAYOUT, EEG_MONTAGE = "Vectorview-mag", "biosemi32"
RADIUS = {"mag": 0.12, "eeg": 0.095}
N_BANDS, N_SOURCES, N_NOISES = 12, 6, 24
SILENCE = 1.0
"""Seconds of silence between two sounds of a recording."""
PEAKS = ((0.05, 0.02, 0.6), (0.11, 0.03, -1.0), (0.2, 0.05, 0.7))
"""Latency (s), width (s) and size of the components of a response, as of P1, N1 and P2."""
UNIT_SIZE = {"mag": 100.0, "eeg": 10.0}
"""Standard deviation of a sensor's signal, fT and uV."""


class SimulatedSpeech(SpeechStudy):
    """M/EEG of several people who listen to the same speech, simulated from the sound.

    Each subject has sources of the brain's own whose activity is the sound's loudness, its rises and its spectral bands
    (twelve, mel-spaced, logarithmic), each convolved with temporal response functions of components at about 50, 110
    and 200 ms; latencies, sizes, preferred bands, places of the sources and so the mixing to the sensors differ between
    subjects. Odd subjects are recorded by 102 magnetometers, even ones by 32 electrodes. Noise with a 1/f spectrum,
    from sources of its own and at each sensor, is added. Every subject hears all sounds once a session, in an order of
    its own.

    Parameters
    ----------
    n_subjects : int, default=6
        People.
    n_sessions : int, default=1
        Recordings of each of them.
    snr : float, default=-10
        Power of response over noise at the sensors, dB, as a mean over sensors.
    minutes : float, default=6
        Length of the synthetic speech; with a folder of sounds (``speech``) these are used as they are.
    seed : int, default=0
        The same seed, and the same sounds, give the same study.

    Raises
    ------
    ConfigError
        When a number is out of its range.

    Examples
    --------
    >>> from tscl.data.datasets import SimulatedSpeech
    >>> from tscl.data.speech import load_speech
    >>> load_speech(SimulatedSpeech(n_subjects=2), speech="speech")  # doctest: +SKIP
    """

    name: ClassVar[str] = "simulated_speech"
    title: ClassVar[str] = "Simulated MEG and EEG of people who listen to speech"
    licence: ClassVar[str] = "MIT (simulated)"
    url: ClassVar[str] = ""
    access: ClassVar[str] = (
        "It is simulated: no files are needed; a folder of WAV files is simulated from where one is given."
    )
    channel_types: ClassVar[tuple[str, ...]] = ("eeg", "mag")

    def __init__(
        self, n_subjects: int = 6, n_sessions: int = 1, snr: float = -10.0, minutes: float = 6.0, seed: int = 0
    ) -> None:
        super().__init__()
        if n_subjects < 1 or n_sessions < 1 or minutes < 1:
            raise ConfigError(
                f"{self.name}: {n_subjects} subjects, {n_sessions} sessions, {minutes:g} minutes: each must be at "
                "least 1."
            )
        self.n_subjects, self.n_sessions, self.snr, self.minutes, self.seed = n_subjects, n_sessions, snr, minutes, seed
        self.expected = {"patients": n_subjects, "recordings": n_subjects * n_sessions}

    def sounds(self) -> list[str]:
        """Return the sound files: those of the given folder, or synthetic ones, made on the first call.

        Raises
        ------
        DataNotFoundError
            When the folder holds no WAV file.
        """
        if self.speech is None:
            import pooch

            folder = Path(pooch.os_cache("tscl")) / f"speech-1-{self.minutes:g}-{self.seed}"
            return [str(path) for path in sorted(synthesise_speech(folder, self.minutes, self.seed).glob("*.wav"))]
        found = [str(path) for path in sorted(self.speech.glob("*.wav"))]
        if not found:
            raise DataNotFoundError(
                f"{self.speech} has no WAV files: name a folder of speech, or none for synthetic speech."
            )
        return found

    def sources(self, root: Path) -> list[Source]:
        """One source a session of a subject."""
        sounds = tuple(self.sounds())
        digits = len(str(self.n_subjects))
        found = []
        for subject in range(self.n_subjects):
            for session in range(self.n_sessions):
                name = f"S{subject + 1:0{digits}d}"
                read = partial(
                    simulated_listening, sounds=sounds, subject=subject, session=session, snr=self.snr, seed=self.seed
                )
                ids = {"patient": name, "recording": f"{name}/{session + 1}"}
                found.append(Source(f"<{self.name}>/{name}/{session + 1}", ids, reader=read))
        return found


def simulated_listening(
    path: str, *, sounds: tuple[str, ...], subject: int, session: int, snr: float, seed: int
) -> SpeechRecording:
    """Simulate one session of one subject: the reader of the simulated study's sources.

    Parameters
    ----------
    path : str
        Name of the recording.
    sounds : tuple of str
        WAV files, all of which are heard.
    subject, session : int
        Who, and which time.
    snr : float
        Power of response over noise, dB.
    seed : int
        Of the study.

    Returns
    -------
    SpeechRecording
        At 120 Hz; magnetometers in fT for odd subjects (1, 3, ...), electrodes in uV for the others.
    """
    person = np.random.default_rng([seed, 1, subject])
    chance = np.random.default_rng([seed, 2, subject, session])
    kind = "mag" if subject % 2 == 0 else "eeg"
    names, places = sensor_places(kind)
    drive, words = _heard(sounds, chance)
    response = _mixing(person, places, kind, N_SOURCES) @ _sources(person, drive)
    noise = _mixing(person, places, kind, N_NOISES) @ _pink(chance, (N_NOISES, drive.shape[1]))
    noise = noise / noise.std() + 0.5 * _pink(chance, (len(names), drive.shape[1]), exponent=0.5)
    size = 10 ** (snr / 20) * noise.std() / response.std()
    signal = size * response + noise
    signal *= UNIT_SIZE[kind] / signal.std()
    channels = Channels(names, (kind,) * len(names), "fT" if kind == "mag" else "uV", SFREQ, places)
    return SpeechRecording(signal, channels, source=path, words=words)


def sensor_places(kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and positions (C, 3) in metres of the magnetometers or electrodes of the two simulated montages."""
    import mne

    if kind == "eeg":
        by_name = mne.channels.make_standard_montage(EEG_MONTAGE).get_positions()["ch_pos"]
        return tuple(by_name), np.array(list(by_name.values()))
    layout = mne.channels.read_layout(MEG_LAYOUT)
    flat = layout.pos[:, :2] + layout.pos[:, 2:] / 2
    flat = (flat - flat.min(axis=0)) / np.ptp(flat, axis=0) * 2 - 1
    angle = np.hypot(*flat.T) * np.deg2rad(85)
    turn = np.arctan2(flat[:, 1], flat[:, 0])
    across = np.sin(angle)
    places = np.column_stack([across * np.cos(turn), across * np.sin(turn), np.cos(angle)]) * RADIUS["mag"]
    return tuple(layout.names), places


def _heard(sounds: tuple[str, ...], chance: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """What drives the brain, (N_BANDS + 2, T), over a session, and the words of the session."""
    gap = np.zeros((N_BANDS + 2, round(SILENCE * SFREQ)))
    pieces, tables = [gap], []
    at = gap.shape[1]
    for number in chance.permutation(len(sounds)):
        path = sounds[number]
        drive = _drive(path, Path(path).stat().st_mtime_ns)
        words = words_of_sound(path)
        tables.append(words.assign(sound=path, sound_onset=words["onset"], onset=words["onset"] + at / SFREQ))
        pieces += [drive, gap]
        at += drive.shape[1] + gap.shape[1]
    return np.concatenate(pieces, axis=1), pd.concat(tables, ignore_index=True)


@lru_cache(maxsize=64)
def _drive(path: str, _changed: int) -> np.ndarray:
    """What a sound drives the brain with, for all who hear it: bands, loudness, rises; anew once the file changed."""
    mel = LogMel(n_bands=N_BANDS)
    sound, _ = read_sound(path, mel.sound_sfreq)
    bands = mel(sound, SFREQ)
    bands = (bands - bands.mean(axis=1, keepdims=True)) / (bands.std(axis=1, keepdims=True) + 1e-6)
    loud = bands.mean(axis=0, keepdims=True)
    rise = np.maximum(np.gradient(loud[0]), 0)[None]
    return np.concatenate([bands, loud / loud.std(), rise / (rise.std() + 1e-6)])


def _sources(person: np.random.Generator, drive: np.ndarray) -> np.ndarray:
    """Responses of the sources, (N_SOURCES, T): each to its own bands, by its own response function."""
    from scipy.signal import fftconvolve

    times = np.arange(round(0.4 * SFREQ)) / SFREQ
    centre = person.uniform(0, N_BANDS - 1, N_SOURCES)
    result = np.empty((N_SOURCES, drive.shape[1]))
    for source in range(N_SOURCES):
        tuned = np.exp(-0.5 * ((np.arange(N_BANDS) - centre[source]) / 2.0) ** 2) * person.choice([-1, 1])
        weights = np.concatenate([tuned, person.uniform(0.3, 1.0, 2)])
        kernel = np.zeros(len(times))
        for latency, width, height in PEAKS:
            middle = latency * person.normal(1, 0.15)
            kernel += height * person.lognormal(0, 0.3) * np.exp(-0.5 * ((times - middle) / width) ** 2)
        result[source] = fftconvolve(weights @ drive, kernel)[: drive.shape[1]]
    return result / result.std(axis=1, keepdims=True)


def _mixing(person: np.random.Generator, places: np.ndarray, kind: str, n: int) -> np.ndarray:
    """How sources reach the sensors, (C, n): a bump for electrodes, a pair of opposite ones for magnetometers."""
    direction = places / np.linalg.norm(places, axis=1, keepdims=True)
    mixing = np.empty((len(places), n))
    for source in range(n):
        side = -1 if source % 2 else 1
        turn = np.deg2rad(person.normal(0 if side > 0 else 180, 40))
        angle = np.deg2rad(person.uniform(35, 75))
        spot = np.array([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)])
        near = np.exp(-0.5 * (np.arccos(np.clip(direction @ spot, -1, 1)) / np.deg2rad(35)) ** 2)
        if kind == "mag":
            across = np.cross(spot, person.normal(size=3))
            near *= direction @ (across / np.linalg.norm(across))
        mixing[:, source] = near / near.std()
    return mixing


def _pink(chance: np.random.Generator, shape: tuple[int, int], exponent: float = 1.0) -> np.ndarray:
    """Noise (n, T) of unit variance whose power falls as 1 / frequency ** exponent above 0.5 Hz."""
    frequency = np.maximum(np.fft.rfftfreq(shape[1], 1 / SFREQ), 0.5)
    spectrum = np.fft.rfft(chance.normal(size=shape), axis=1) * frequency ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, shape[1], axis=1)
    return noise / noise.std(axis=1, keepdims=True)
