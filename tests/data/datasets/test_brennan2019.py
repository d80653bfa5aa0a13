"""Brennan 2019 on small files in the layout of the Deep Blue data, and on broken ones."""

import logging
import math
import pickle
import re

import mne
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from tscl.data.datasets.brennan2019 import ACTI61, KEPT, TABLE, Brennan2019, read_table, segment_starts
from tscl.errors import DataError, DataNotFoundError

SFREQ = 500
LABELS = ["1", "33", "25", "VEOG", "AUD"]
ROWS = [
    ("Alice", 1, 0.046, 0.6087, 1, 1),
    ("null", 1, 0.5627, 0.8305, 2, 1),
    ("tired", 1, 1.4011, 1.6, 3, 2),
    ("of", 2, 0.4798, 0.7, 4, 2),
    ("sitting", 2, 0.9001, 1.2, 5, 3),
]
STARTS = {1: 700, 2: 2100}


def cells(items, column=False):
    cell = np.empty(len(items), dtype=object)
    cell[:] = items
    return cell.reshape(-1, 1) if column else cell.reshape(1, -1)


def epochs(starts, shift=0):
    """Rows of proc.trl as the authors made them: MATLAB's samples, words rounded up, epochs from -0.3 to 1 s."""
    rows = []
    for _, segment, onset, _, order, _ in ROWS:
        number = segment - shift
        if segment in starts and number > 0:
            word = starts[segment] + 1 + math.ceil(onset * SFREQ)
            rows.append([word - 150, word + 500, -150, number, onset, order])
    return np.array(rows, dtype=float)


def write_proc(path, trl, names=("segment", "tmin", "Order")):
    path.parent.mkdir(exist_ok=True)
    savemat(path, {"proc": {"subject": path.stem, "trl": trl, "varnames": cells(list(names))}})


def write_person(root, name, trl=None, seconds=8, **changes):
    signal = np.random.default_rng(0).normal(0, 10, (len(LABELS), seconds * SFREQ))
    raw = {"trial": cells([signal]), "time": cells([np.arange(signal.shape[1]) / SFREQ]), "fsample": float(SFREQ)}
    raw["label"] = cells(LABELS, column=True)
    raw.update(changes)
    savemat(root / f"{name}.mat", {"raw": {key: value for key, value in raw.items() if value is not None}})
    write_proc(root / "proc" / f"{name}.mat", epochs(STARTS) if trl is None else trl)
    return signal


@pytest.fixture
def root(tmp_path):
    columns = ["Word", "Segment", "onset", "offset", "Order", "Sentence"]
    pd.DataFrame(ROWS, columns=columns).assign(LogFreq=8.65).to_csv(tmp_path / TABLE, index=False)
    return tmp_path


def test_a_recording_as_in_the_archive(root):
    signal = write_person(root, "S01")
    write_person(root, "S02")
    write_person(root, "S10")
    study = Brennan2019()
    sources = study.sources(study.find(root))
    assert [source.ids for source in sources] == [
        {"patient": "S01", "recording": "S01"},
        {"patient": "S10", "recording": "S10"},
    ]
    (recording,) = pickle.loads(pickle.dumps(sources[0])).load()
    assert recording.channels.names == tuple(LABELS)
    assert recording.channels.types == ("eeg", "eeg", "eeg", "eog", "misc")
    assert (recording.channels.unit, recording.sfreq, recording.duration) == ("uV", 500.0, 8.0)
    np.testing.assert_array_equal(recording.data, signal.astype(np.float32))

    words = recording.words
    assert words["word"].tolist() == ["Alice", "null", "tired", "of", "sitting"]
    starts = np.array([1.4, 1.4, 1.4, 4.2, 4.2])
    np.testing.assert_array_equal(words["sound_onset"], [row[2] for row in ROWS])
    late = words["onset"] - starts - words["sound_onset"]
    assert late.min() >= -1e-9
    assert late.max() <= 0.002
    np.testing.assert_allclose(words["duration"], [row[3] - row[2] for row in ROWS])
    assert words["sequence"].tolist() == [
        "segment01/sentence01",
        "segment01/sentence01",
        "segment01/sentence02",
        "segment02/sentence02",
        "segment02/sentence03",
    ]
    sounds = [str(root / "audio" / f"DownTheRabbitHoleFinal_SoundFile{number}.wav") for number in (1, 2)]
    assert words["sound"].tolist() == [sounds[0]] * 3 + [sounds[1]] * 2


def test_sounds_in_another_folder_and_other_people(root, tmp_path):
    write_person(root, "S02")
    study = Brennan2019(subjects=["S02"])
    study.speech = tmp_path / "sounds"
    (recording,) = study.sources(root)[0].load()
    assert recording.words["sound"][0] == str(tmp_path / "sounds" / "DownTheRabbitHoleFinal_SoundFile1.wav")
    with pytest.raises(DataNotFoundError, match=r"has the recording of none of S01, S03, .*, S48\. Fetch S01\.mat"):
        Brennan2019().sources(root)


def test_the_authors_people_and_electrodes(root):
    assert len(KEPT) == len(set(KEPT)) == 33
    assert {"S02", "S07", "S24", "S43", "S49"}.isdisjoint(KEPT)
    assert sorted(ACTI61) == list(range(1, 62))
    write_person(root, "S01")
    (recording,) = Brennan2019().sources(root)[0].load()
    front, top, mastoid, *others = recording.channels.positions
    assert np.isnan(others).all()
    montage = mne.create_info([str(n) for n in range(1, 62)], 500.0, "eeg").set_montage("easycap-M10")
    there = np.array([channel["loc"][:3] for channel in montage["chs"]])
    np.testing.assert_allclose(top, there[0])
    np.testing.assert_allclose(front, there[1])
    assert there[:, 2].argmax() == 0
    assert front[1] > top[1] + 0.02
    assert mastoid[0] > 0.05
    left = there[ACTI61[29 - 1] - 1]
    np.testing.assert_allclose(left * [-1, 1, 1], mastoid, atol=1e-6)


def test_people_whose_first_trigger_is_missing(root):
    write_person(root, "S26", epochs({2: 2100}, shift=1))
    (recording,) = Brennan2019().sources(root)[0].load()
    assert recording.words["word"].tolist() == ["of", "sitting"]
    np.testing.assert_allclose(recording.words["onset"], 4.2 + recording.words["sound_onset"], atol=0.002)
    assert recording.words["sound"].str.endswith("SoundFile2.wav").all()


def test_words_outside_the_recording_are_left_out(root, caplog):
    write_person(root, "S01", seconds=5)
    with caplog.at_level(logging.WARNING):
        (recording,) = Brennan2019().sources(root)[0].load()
    assert recording.words["word"].tolist() == ["Alice", "null", "tired", "of"]
    assert "1 of 5 words" in caplog.text


def test_a_stray_epoch_does_not_move_a_segment(root):
    trl = np.repeat(epochs(STARTS), 7, axis=0)
    straight = segment_starts_of(root, trl)
    trl[0, 0] += 400
    assert segment_starts_of(root, trl) == straight
    trl[:3, 0] += 400
    with pytest.raises(
        DataError, match=r"S01\.mat: 3 of 21 words of segment 1 in proc\.trl disagree by more than 50 ms"
    ):
        segment_starts_of(root, trl)


def segment_starts_of(root, trl, **names):
    path = root / "proc" / "S01.mat"
    write_proc(path, trl, **names)
    return segment_starts(path, SFREQ)


def test_missing_files_say_what_to_fetch(root, tmp_path):
    with pytest.raises(
        DataNotFoundError, match=r"S\[0-9\]\[0-9\]\.mat .*10\.7302/Z29C6VNH into one folder, .* there\.$"
    ):
        Brennan2019().find(tmp_path)
    write_person(root, "S01")
    (root / "proc" / "S01.mat").unlink()
    with pytest.raises(
        DataNotFoundError, match=r"S01\.mat, which says when S01 heard what, is missing\. Fetch S01\.mat"
    ):
        Brennan2019().sources(root)
    (root / TABLE).unlink()
    with pytest.raises(DataNotFoundError, match=re.escape(f"{root} has no {TABLE}. Fetch")):
        Brennan2019().sources(root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fsample": None}, "raw has no fields trial, label and fsample"),
        (
            {"trial": cells([np.zeros((5, 100))] * 2)},
            r"raw\.trial has shape \(2,\), expected one trial of shape \(5, sam",
        ),
        (
            {"trial": cells([np.zeros((4, 100))])},
            r"raw\.trial has shape \(4, 100\), expected one trial of shape \(5, sam",
        ),
        ({"label": cells(list("abcde"), column=True)}, r"no label of raw is an electrode from 1 to 61, it has \['a', "),
    ],
)
def test_wrong_recordings(root, changes, said):
    write_person(root, "S01", **changes)
    with pytest.raises(DataError, match=r"S01\.mat: " + said):
        Brennan2019().sources(root)[0].load()


def test_wrong_epochs(root):
    with pytest.raises(
        DataError, match=r"proc\.trl has shape \(5, 5\) and proc\.varnames is \['segment', 'tmin', 'Ord"
    ):
        segment_starts_of(root, epochs(STARTS)[:, :5])
    with pytest.raises(DataError, match=r"proc\.varnames is \['passage', 'tmin', 'Order'\]"):
        segment_starts_of(root, epochs(STARTS), names=("passage", "tmin", "Order"))
    savemat(root / "proc" / "S01.mat", {"proc": {"subject": "S01"}})
    with pytest.raises(DataError, match=r"S01\.mat: proc has no fields trl and varnames"):
        segment_starts(root / "proc" / "S01.mat", SFREQ)
    write_person(root, "S01", epochs(STARTS) + [0, 0, 0, 20, 0, 0])
    with pytest.raises(DataError, match=r"S01\.mat: proc\.trl has no segment of AliceChapterOne-EEG\.csv"):
        Brennan2019().sources(root)[0].load()


def test_hdf5_file_and_wrong_table(root):
    write_person(root, "S01")
    path = root / "S01.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 64)
    with pytest.raises(DataError, match=r"S01\.mat is a MATLAB 7\.3 \(HDF5\) file.* save it again with '-v7'\.$"):
        Brennan2019().sources(root)[0].load()
    table = pd.read_csv(root / TABLE, keep_default_na=False)
    table.assign(onset=["0.1", "", "1", "2", "3"]).to_csv(root / TABLE, index=False)
    with pytest.raises(DataError, match=r"csv, row 3, has no number in the column 'onset'"):
        read_table(root / TABLE)
    table.drop(columns="Sentence").to_csv(root / TABLE, index=False)
    with pytest.raises(DataError, match=r"csv has no column 'Sentence', it has \['Word', 'Segment'"):
        read_table(root / TABLE)
    (root / TABLE).write_bytes(b"")
    with pytest.raises(DataError, match=r"csv cannot be read as a table .*: fetch the original Alice"):
        read_table(root / TABLE)
