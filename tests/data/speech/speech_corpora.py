"""Small corpora in memory: people who heard the same sounds in an order of their own."""

import numpy as np
import pandas as pd

from tscl.data.recording import Channels
from tscl.data.speech.corpus import Listened, SpeechCorpus

SFREQ = 120.0
N_FEATURES = 4


def evenly(name, seconds, every=0.4, per_sequence=5):
    """Words (onset, duration, sequence) of a sound, evenly spaced."""
    onsets = np.arange(0.2, seconds - 0.4, every)
    return [(float(onset), 0.3, f"{name}/{i // per_sequence:03d}") for i, onset in enumerate(onsets)]


def corpus_of(sounds, heard, *, sensors=(3, 2, 3), gap=1.0, known=1.0, seed=0):
    """Return the corpus of ``sounds`` (name: seconds and words) as ``heard`` (subject and names, a recording each).

    ``gap`` seconds lie between sounds, which are heard at once where it is negative; of each recording the share
    ``known`` of the words is known.
    """
    rng = np.random.default_rng(seed)
    recordings, tables = [], []
    for number, (subject, names) in enumerate(heard):
        rows, at = [], max(gap, 0.0)
        for name in names:
            seconds, words = sounds[name]
            rows += [(at + onset, length, "w", seq, name, onset) for onset, length, seq in words]
            at += seconds + gap
        n = sensors[number % len(sensors)]
        places = rng.uniform(0, 1, (n, 2)).astype(np.float32)
        channels = Channels(tuple(f"{n}-{i}" for i in range(n)), ("mag",) * n, "a.u.", SFREQ)
        data = (3 * rng.normal(size=(n, round(max(at, at - gap) * SFREQ))) + 5).astype(np.float32)
        ids = {"patient": subject, "recording": f"{subject}/{number}"}
        recordings.append(Listened(data, channels, ids, f"file{number}", places))
        table = pd.DataFrame(rows, columns=["onset", "duration", "word", "sequence", "sound", "sound_onset"])
        tables.append(
            table[rng.random(len(table)) < known].sort_values("onset", kind="stable").assign(recording=number)
        )
    return SpeechCorpus(recordings, pd.concat(tables, ignore_index=True), {k: float(v[0]) for k, v in sounds.items()})


def features_of(corpus, seed=1):
    rng = np.random.default_rng(seed)
    steps = {name: int(np.ceil(seconds * corpus.sfreq)) for name, seconds in corpus.seconds.items()}
    return {name: rng.normal(2, 3, (N_FEATURES, n)).astype(np.float32) for name, n in steps.items()}


def three_listeners():
    """Two sounds of 20 s; the second subject hears them in the other order and has fewer sensors."""
    sounds = {name: (20.0, evenly(name, 20.0)) for name in ("a", "b")}
    return corpus_of(sounds, [("S1", "ab"), ("S2", "ba"), ("S3", "ab")])
