"""MEG-MASC: the descriptions of its events, the words of both sessions, a KIT file."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tscl.data.datasets.gwilliams2022 import Gwilliams2022, masc_words, parse_description
from tscl.data.speech.recording import SpeechRecording
from tscl.errors import DataError, DataNotFoundError

pytest.importorskip("mne_bids")


def event(kind, story="lw1", sound="stimuli/audio/LW1_0.wav", **more):
    return {"story": story, "story_uid": 0.0, "kind": kind, "sound": sound, **more}


EVENTS = [
    (0.25, 60.0, event("sound", start=0.0)),
    (0.5, 0.08, event("phoneme", phoneme="t_B", start=0.25, sequence_id=0.0, condition="sentence")),
    (0.5, 0.3, event("word", word="Tara", start=0.25, sequence_id=0.0, condition="sentence")),
    (0.85, 0.2, event("word", word="it's", start=0.6, sequence_id=0.0, condition="sentence")),
    (1.25, 0.2, event("word", word="null", sequence_id=1, condition="word_list")),
    (1.5, 0.1, event("word", word="end", start=1.25)),
]


def write_events(path, events=EVENTS, dump=repr):
    lines = [
        f"{onset}\t{duration}\t{row if isinstance(row, str) else dump(row)}\t1\t{round(onset * 1000)}"
        for onset, duration, row in events
    ]
    path.write_text("\n".join(["onset\tduration\ttrial_type\tvalue\tsample", *lines, ""]), encoding="utf-8")


@pytest.fixture
def root(tmp_path, shared_data):
    """Two sessions of one subject, their signals the 2 s of a KIT system with 157 sensors that mne keeps for tests."""
    (tmp_path / "stimuli" / "audio").mkdir(parents=True)
    (tmp_path / "stimuli" / "audio" / "lw1_0.wav").touch()
    for session in "01":
        folder = tmp_path / "sub-01" / f"ses-{session}" / "meg"
        folder.mkdir(parents=True)
        stem = f"sub-01_ses-{session}_task-0"
        shutil.copy(shared_data / "mne_test" / "test.sqd", folder / f"{stem}_meg.con")
        write_events(folder / f"{stem}_events.tsv", dump=repr if session == "0" else json.dumps)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t27\n")
    return tmp_path


def test_both_sessions_share_their_words(root):
    first, second = (source.load()[0] for source in Gwilliams2022().sources(root))
    assert isinstance(first, SpeechRecording)
    assert first.ids == {"patient": "sub-01", "session": "sub-01/ses-0", "recording": "sub-01_ses-0_task-0_meg"}
    assert second.ids["session"] == "sub-01/ses-1"
    assert (first.labels["task"], first.labels["age"]) == ("0", 27)
    pd.testing.assert_frame_equal(first.words, second.words)
    assert first.words["word"].tolist() == ["Tara", "it's", "null", "end"]
    assert first.words["sequence"].tolist() == ["lw1_0/0", "lw1_0/0", "lw1_0/1", "lw1_0"]
    assert first.words["onset"].tolist() == [0.5, 0.85, 1.25, 1.5]
    assert first.words["duration"].tolist() == [0.3, 0.2, 0.2, 0.1]
    assert first.words["sound_onset"].tolist() == [0.25, 0.6, 1.0, 1.25]
    assert set(first.words["sound"]) == {str(root / "stimuli" / "audio" / "lw1_0.wav")}


def test_sensors_of_a_kit_file(root):
    recording = Gwilliams2022().sources(root)[0].load()[0]
    assert set(recording.channels.types) == {"mag"}
    assert len(recording.channels) == 157
    assert (recording.channels.unit, recording.sfreq, recording.duration) == ("fT", 1000.0, 2.0)
    assert 10 < np.median(recording.data.std(axis=1)) < 1e5
    radius = np.linalg.norm(recording.channels.positions, axis=1)
    assert radius.min() > 0.08
    assert radius.max() < 0.2


def test_windows_of_three_seconds_need_longer_recordings(root, caplog):
    from tscl.data.preprocessing import PickChannels, Preprocessing, Resample, SlidingWindows

    short = Preprocessing(
        steps=[PickChannels(types=["mag"]), Resample(120.0)], windows=SlidingWindows(1.0, overlap=0.0)
    )
    data = Gwilliams2022().load(root, preprocessing=short)
    assert data.shape == (4, 157, 120)
    assert data.levels == ("patient", "session", "recording", "trial")
    assert "found 1 of 27 patients" in caplog.text


@pytest.mark.parametrize("dump", [repr, json.dumps])
def test_descriptions_are_parsed(dump):
    row = event("word", word='she said "it\'s"', start=1.5, sequence_id=3.0)
    assert parse_description(dump(row)) == row


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "{'kind': open('x')}", "word", "[1, 2]", "{"])
def test_descriptions_are_never_evaluated(text):
    with pytest.raises(ValueError):
        parse_description(text)


def words_of(tmp_path, rows):
    table = pd.DataFrame(rows, columns=["onset", "duration", "trial_type"])
    table["trial_type"] = [row if isinstance(row, str) or row is None else repr(row) for row in table["trial_type"]]
    return masc_words(table, tmp_path / "x_events.tsv", tmp_path)


def test_sequences_differ_between_sounds(tmp_path):
    rows = [
        (1.0, 0.1, event("word", word="a", start=0.5, sequence_id=0.0)),
        (2.0, 0.1, event("word", word="b", start=0.5, sequence_id=0.0, sound="stimuli/audio/lw1_1.wav")),
        (3.0, 0.1, None),
    ]
    words = words_of(tmp_path, rows)
    assert [row["sequence"] for row in words] == ["lw1_0/0", "lw1_1/0"]
    assert words[1]["sound"] == str(tmp_path / "lw1_1.wav")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (event("word", word="a"), r"the word at 1\.000 s has no 'sound' or no 'start'"),
        (
            {"kind": "word", "word": "a", "start": 0.0},
            r"no 'sound' or no 'start' in it, it has \['kind', 'start', 'word'\]",
        ),
        ("{'kind': 'word'", r"x_events\.tsv: the trial_type at 1\.000 s is no dictionary"),
    ],
)
def test_wrong_events(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        words_of(tmp_path, [(1.0, 0.1, row)])


def test_no_column_of_descriptions(tmp_path):
    with pytest.raises(DataError, match="no column 'trial_type'"):
        masc_words(pd.DataFrame({"onset": [1.0], "duration": [0.1]}), tmp_path / "x_events.tsv", tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"gwilliams2022: .* is empty .*osf\.io/ag3kj .*stimuli/audio/\."):
        Gwilliams2022().load(tmp_path)
    (tmp_path / "sub-01/ses-0/meg").mkdir(parents=True)
    (tmp_path / "sub-01/ses-0/meg/sub-01_ses-0_task-0_meg.con").touch()
    with pytest.raises(DataNotFoundError, match="folder of the sound files .*audio does not exist"):
        Gwilliams2022().load(tmp_path)
