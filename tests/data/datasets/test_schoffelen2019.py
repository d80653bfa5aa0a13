"""MOUS: the events of its auditory task, words with and without an alignment, a CTF folder."""

import struct

import numpy as np
import pandas as pd
import pytest

from tscl.data.datasets.schoffelen2019 import Schoffelen2019, mous_words, read_stimuli
from tscl.data.speech.recording import SpeechRecording
from tscl.errors import DataError, DataNotFoundError

pytest.importorskip("mne_bids")

SFREQ, SECONDS = 1200, 8
SENSORS_CM = np.array([[3.0, 4.0, -20.0], [-5.0, 2.0, -16.0]])
COIL = np.dtype(
    [
        ("pos", ">f8", 3), ("d0", ">f8"), ("norm", ">f8", 3), ("d1", ">f8"),
        ("turns", ">i2"), ("d2", ">i4"), ("d3", ">i2"), ("area", ">f8"),
    ]
)  # fmt: skip
CHANNEL = np.dtype(
    [
        ("kind", ">i2"), ("run", ">i2"), ("coil_type", ">i4"), ("proper_gain", ">f8"), ("qgain", ">f8"),
        ("io_gain", ">f8"), ("io_offset", ">f8"), ("num_coils", ">i2"), ("grad_order", ">i2"), ("d0", ">i4"),
        ("coil", COIL, 8), ("head_coil", COIL, 8),
    ]
)  # fmt: skip
COMPENSATION = np.dtype(
    [
        ("sensor", "S32"), ("kind", ">i4"), ("d0", ">i4"), ("count", ">i2"),
        ("sensors", "S31", 50), ("coeffs", ">f8", 50),
    ]
)  # fmt: skip


def write_ds(folder):
    """Write a CTF folder: a stimulus channel, a reference, and two gradiometers of 5 and 6 fT.

    The head is 25 cm above the origin of the dewar, its axes the same.
    """
    folder.mkdir(parents=True)
    names, kinds = ["UPPT001", "BG1-1", "MLC11-1", "MRC11-1"], [11, 0, 5, 5]
    head = bytearray(1844)
    head[:8] = b"MEG41RS\0"
    head[778:786], head[1033:1043] = b"12:00:00", b"01/02/2012"
    struct.pack_into(">ih", head, 1288, SFREQ * SECONDS, len(names))
    struct.pack_into(">ddh", head, 1296, SFREQ, SECONDS, 1)
    channels = np.zeros(len(names), CHANNEL)
    channels["kind"], channels["proper_gain"], channels["qgain"], channels["io_gain"] = kinds, 1.0, 1e15, 1.0
    channels["coil"]["norm"][:, 0] = [0, 0, 1]
    channels["coil"]["pos"][:, 0] = [[0, 0, 0], [0, 0, 30], *SENSORS_CM]
    labels = b"".join(name.encode().ljust(32, b"\0") for name in names)
    balance = np.zeros(2, COMPENSATION)
    balance["sensor"], balance["kind"], balance["count"] = names[2:], int.from_bytes(b"G1BR"), 1
    balance["sensors"][:, 0], balance["coeffs"][:, 0] = names[1], 0.5
    parts = [bytes(head), struct.pack(">h", 0), labels, channels.tobytes(), struct.pack(">h", 2), balance.tobytes()]
    (folder / f"{folder.stem}.res4").write_bytes(b"".join(parts))
    data = np.repeat(np.array([[0], [9], [5], [6]], dtype=">i4"), SFREQ * SECONDS, axis=1)
    (folder / f"{folder.stem}.meg4").write_bytes(b"MEG41CP\0" + data.tobytes())
    lines = []
    for frame, shift in (("dewar", -25.0), ("head", 0.0)):
        for name, x, y in (("nasion", 10.0, 0.0), ("left ear", 0.0, 7.0), ("right ear", 0.0, -7.0)):
            lines.append(f"measured {name} coil position relative to {frame} (cm):")
            lines += [f"\tx = {x}", f"\ty = {y}", f"\tz = {shift}"]
    (folder / f"{folder.stem}.hc").write_text("\n".join(lines) + "\n")


EVENTS = """onset\tduration\tsample\ttype\tvalue
0\t10\t1\ttrial\tn/a
0.25\tn/a\t301\tPicture\tZINNEN
0.5\tn/a\t601\tPicture\tFIX 3300
1.0\tn/a\t1201\tSound\t14 Start File 045.wav
1.0\tn/a\t1201\tfrontpanel trigger\t14
1.125\tn/a\t1351\tNothing\t5 Audio onset
2.5\tn/a\t3001\tNothing\t6 target
3.5\tn/a\t4201\tNothing\t15 End of file
4.0\tn/a\t4801\tSound\t14 Start File 704.wav
4.5\tn/a\t5401\tNothing\t15 End of file
"""


@pytest.fixture
def root(tmp_path):
    audio = tmp_path / "stimuli" / "audio_files"
    audio.mkdir(parents=True)
    for number in ("045", "704"):
        (audio / f"EQ_Ramp_Int2_Int1LPF{number}.wav").touch()
    (tmp_path / "stimuli" / "stimuli.txt").write_text("45 Het aardige vrouwtje\n704 zak een\n", encoding="utf-8")
    for subject in ("A2002", "A2003"):
        meg = tmp_path / f"sub-{subject}" / "meg"
        write_ds(meg / f"sub-{subject}_task-auditory_meg.ds")
        (meg / f"sub-{subject}_task-auditory_events.tsv").write_text(EVENTS)
    write_ds(tmp_path / "sub-A2002/meg/sub-A2002_task-rest_meg.ds")
    return tmp_path


def test_words_that_the_public_files_time(root):
    first, second = (source.load()[0] for source in Schoffelen2019().sources(root))
    assert isinstance(first, SpeechRecording)
    assert first.ids == {
        "patient": "sub-A2002", "session": "sub-A2002/ses-1", "recording": "sub-A2002_task-auditory_meg",
    }  # fmt: skip
    assert second.ids["patient"] == "sub-A2003"
    sound = str(root / "stimuli" / "audio_files" / "EQ_Ramp_Int2_Int1LPF{}.wav")
    assert first.words.to_numpy().tolist() == [
        [1.125, 0.0, "Het", "045", sound.format("045"), 0.125],
        [2.5, 0.0, None, "045", sound.format("045"), 1.5],
        [4.0, 0.0, None, "704", sound.format("704"), 0.0],
    ]


def test_a_ctf_folder(root):
    recording = Schoffelen2019().sources(root)[0].load()[0]
    assert recording.channels.names == ("MLC11-1", "MRC11-1")
    assert recording.channels.types == ("mag", "mag")
    assert (recording.channels.unit, recording.sfreq, recording.duration) == ("fT", 1200.0, 8.0)
    np.testing.assert_allclose(recording.data[:, ::1200], [[5.0] * 8, [6.0] * 8], rtol=1e-6)
    nose, left, up = (SENSORS_CM + [0.0, 0.0, 25.0]).T / 100
    np.testing.assert_allclose(recording.channels.positions, np.stack([-left, nose, up], axis=1), atol=1e-6)


def test_words_that_the_user_aligned(root):
    audio = root / "stimuli" / "audio_files"
    (audio / "EQ_Ramp_Int2_Int1LPF045.tsv").write_text("onset\tduration\tword\n0.125\t0.25\tHet\n0.375\t0.5\taardige\n")
    words = Schoffelen2019().sources(root)[0].load()[0].words
    assert words["word"].tolist() == ["Het", "aardige", None]
    assert words["onset"].tolist() == [1.125, 1.375, 4.0]
    assert words["duration"].tolist() == [0.25, 0.5, 0.0]
    assert words["sound_onset"].tolist() == [0.125, 0.375, 0.0]


def test_sounds_elsewhere_and_no_texts(root, tmp_path_factory):
    study = Schoffelen2019()
    study.speech = tmp_path_factory.mktemp("sounds")
    (root / "stimuli" / "stimuli.txt").unlink()
    words = study.sources(root)[1].load()[0].words
    assert words["word"].tolist() == [None, None, None]
    assert words["sound"][0] == str(study.speech / "EQ_Ramp_Int2_Int1LPF045.wav")


def test_windows(root, caplog):
    data = Schoffelen2019().load(root)
    assert data.shape == (4, 2, 360)
    assert data.metadata["patient"].unique().tolist() == ["sub-A2002", "sub-A2003"]
    assert "found 2 of 96 patients" in caplog.text


def test_stimuli(tmp_path):
    (tmp_path / "stimuli.txt").write_text("1 Het  vrouwtje\n\nfoo bar\n2\n10 zak\n", encoding="utf-8")
    assert read_stimuli(tmp_path / "stimuli.txt") == {1: "Het  vrouwtje", 10: "zak"}
    assert read_stimuli(tmp_path / "none.txt") == {}


def test_wrong_files(tmp_path, root):
    table = pd.DataFrame({"onset": [1.0], "value": ["14"]})
    with pytest.raises(DataError, match="no event 'Start File ###.wav'"):
        mous_words(table, tmp_path / "x_events.tsv", tmp_path, {})
    with pytest.raises(DataError, match=r"no column 'value', it has \['onset'\]"):
        mous_words(table[["onset"]], tmp_path / "x_events.tsv", tmp_path, {})
    (root / "sub-A2003/meg/sub-A2003_task-auditory_meg.ds/sub-A2003_task-auditory_meg.meg4").write_bytes(
        b"MEG41CP\0abc"
    )
    with pytest.raises(DataError, match=r"sub-A2003_task-auditory_meg\.ds cannot be read by mne"):
        Schoffelen2019().sources(root)[1].load()
    for sound in (root / "stimuli" / "audio_files").iterdir():
        sound.unlink()
    (root / "stimuli" / "audio_files").rmdir()
    with pytest.raises(DataNotFoundError, match="folder of the sound files .*audio_files does not exist"):
        Schoffelen2019().sources(root)


def test_nothing_there(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"schoffelen2019: .* is empty .*stimuli\.txt into one folder\."):
        Schoffelen2019().load(tmp_path)
