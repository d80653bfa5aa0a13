"""Speech-like sound, for when there is none: syllables, words of a small lexicon, sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.files import atomic_folder

SFREQ = 16_000
# First three formants (Hz) of vowels, after Peterson and Barney, JASA 1952, rounded.
VOWELS = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
# Centre and width (Hz) of the noise of a consonant, and its length (s).
CONSONANTS = {
    "s": (6000, 2500, 0.09),
    "f": (4000, 4000, 0.08),
    "t": (4500, 3000, 0.03),
    "k": (2200, 1500, 0.04),
    "m": (250, 150, 0.07),
}
BANDWIDTHS = (80.0, 120.0, 160.0)


def synthesise_speech(folder: str | Path, minutes: float = 6.0, seed: int = 0) -> Path:
    """Write sound files of a minute each, with a table of their words beside each; nothing is done where they exist.

    Parameters
    ----------
    folder : path
        Gets ``speech00.wav``, ``speech00.tsv`` (``onset``, ``duration`` in s, ``word``, ``sequence``), and so on.
    minutes : float
        Length of all sound.
    seed : int
        The same seed gives the same speech.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        When the folder has other files already.
    """
    from scipy.io import wavfile

    folder = Path(folder)
    if any(folder.glob("*.wav")):
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(
            f"{folder} has files, but no WAV files: name a new or an empty folder for the synthetic speech."
        )
    rng = np.random.default_rng(seed)
    lexicon = [
        "".join(rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(n)) for n in _lengths(rng)
    ]
    frequency = 1.0 / np.arange(2, len(lexicon) + 2)
    with atomic_folder(folder) as temporary:
        for number in range(max(1, round(minutes))):
            sound, words = _passage(rng, lexicon, frequency / frequency.sum(), 60.0 * minutes / max(1, round(minutes)))
            wavfile.write(temporary / f"speech{number:02d}.wav", SFREQ, (sound * 32767).astype(np.int16))
            words.to_csv(temporary / f"speech{number:02d}.tsv", sep="\t", index=False)
    return folder


def _lengths(rng: np.random.Generator, n_words: int = 120) -> np.ndarray:
    return rng.choice([1, 2, 3], size=n_words, p=[0.45, 0.4, 0.15])


def _passage(
    rng: np.random.Generator, lexicon: list[str], frequency: np.ndarray, seconds: float
) -> tuple[np.ndarray, pd.DataFrame]:
    pieces: list[np.ndarray] = []
    rows: list[dict[str, object]] = []
    at, sentence = 0.0, 0
    while at < seconds:
        pitch = rng.uniform(100, 180)
        for place in range(n_words := int(rng.integers(5, 12))):
            word = str(rng.choice(lexicon, p=frequency))
            spoken = np.concatenate(
                [
                    _syllable(rng, word[i : i + 2], pitch * (1.1 - 0.25 * place / n_words))
                    for i in range(0, len(word), 2)
                ]
            )
            rows.append({"onset": at, "duration": len(spoken) / SFREQ, "word": word, "sequence": f"s{sentence:03d}"})
            pause = np.zeros(int(rng.uniform(0.02, 0.08) * SFREQ))
            pieces += [spoken, pause]
            at += (len(spoken) + len(pause)) / SFREQ
        silence = np.zeros(int(rng.uniform(0.25, 0.6) * SFREQ))
        pieces.append(silence)
        at += len(silence) / SFREQ
        sentence += 1
    sound = np.concatenate(pieces)
    return 0.9 * sound / np.abs(sound).max(), pd.DataFrame(rows).round({"onset": 4, "duration": 4})


def _syllable(rng: np.random.Generator, letters: str, pitch: float) -> np.ndarray:
    """A consonant's noise, then a vowel: a pulse train through three resonances, louder in its middle."""
    from scipy.signal import lfilter

    centre, width, length = CONSONANTS[letters[0]]
    noise = _shaped_noise(rng, int(length * rng.uniform(0.8, 1.2) * SFREQ), centre, width)
    n = int(rng.uniform(0.09, 0.2) * SFREQ)
    phase = np.cumsum(np.full(n, pitch / SFREQ) * (1 + 0.03 * np.sin(2 * np.pi * np.arange(n) / n)))
    voice = np.diff(np.floor(phase), prepend=0.0)
    for formant, band in zip(VOWELS[letters[1]], BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * band / SFREQ)
        angle = 2 * np.pi * formant * rng.normal(1, 0.03) / SFREQ
        voice = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], voice)
    voice *= np.hanning(n) ** 0.5 / max(np.abs(voice).max(), 1e-9) * rng.uniform(0.6, 1.0)
    return np.concatenate([0.25 * noise, voice])


def _shaped_noise(rng: np.random.Generator, n: int, centre: float, width: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.normal(size=n))
    frequency = np.fft.rfftfreq(n, 1 / SFREQ)
    shaped = np.fft.irfft(spectrum * np.exp(-0.5 * ((frequency - centre) / (width / 2)) ** 2), n) * np.hanning(n)
    return shaped / max(np.abs(shaped).max(), 1e-9)
