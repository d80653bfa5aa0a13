"""Any BIDS tree whose events name the sounds: two layouts of words, MEG and EEG."""

import pickle

import numpy as np
import pytest

from tscl.data.datasets.speech_bids import BIDSSpeech, find_sound, read_events
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.tables import read_textgrid, sound_words
from tscl.errors import ConfigError, DataError, DataNotFoundError

pytest.importorskip("mne_bids")

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "x"
    item [2]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 0.75
            text = "zei ""ja"""
        intervals [3]:
            xmin = 0.75
            xmax = 1.5
            text = "2"
'''
SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"Words"
0
1.5
3
0
0.25
"sil"
0.25
0.75
"zei ""ja"""
0.75
1.5
"2"
'''


def write_wav(path, seconds=2.0):
    from scipy.io import wavfile

    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, 8000, np.zeros(round(seconds * 8000), dtype="int16"))


def write_meg(root, subject, events, session=None, task="listen", seconds=20):
    import mne

    info = mne.create_info(["M1", "M2", "STI", "E1"], 100.0, ["mag", "mag", "stim", "eeg"])
    for number, channel in enumerate(info["chs"][:2]):
        channel["loc"][:3] = [0.1, 0.01 * number, 0.05]
    data = np.full((4, seconds * 100), 2e-15)
    raw = mne.io.RawArray(data, info, first_samp=700, verbose="error")
    folder = root / f"sub-{subject}" / (f"ses-{session}" if session else "") / "meg"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"sub-{subject}_" + (f"ses-{session}_" if session else "") + f"task-{task}"
    raw.save(folder / f"{name}_meg.fif", verbose="error")
    (folder / f"{name}_events.tsv").write_text(events)
    return folder / f"{name}_meg.fif"


WORDS = """onset\tduration\ttrial_type\tstim_file\tword\tsound_onset\tsequence
2.0\t1.5\tstart\tstory/one.wav\tn/a\tn/a\tn/a
2.25\t0.5\tword\tstory/one.wav\tnull\t0.25\t7
2.75\tn/a\tword\tstory/one.wav\t2\tn/a\t7
1.0\t0\tbutton\tn/a\tn/a\tn/a\tn/a
9.0\t0.1\tword\ttwo.wav\tHi\tn/a\tn/a
n/a\t0.1\tword\ttwo.wav\tlost\tn/a\tn/a
"""
STARTS = "onset\tduration\tstim_file\n5.0\tn/a\tstory/one.wav\n9.0\t0.6\tstory/one.wav\n"


@pytest.fixture
def tree(tmp_path):
    for name in ("story/one.wav", "two.wav"):
        write_wav(tmp_path / "stimuli" / name)
    return tmp_path


def only(study, root):
    source, *more = study.sources(root)
    assert not more
    (recording,) = pickle.loads(pickle.dumps(source)).load()
    assert isinstance(recording, SpeechRecording)
    return recording


def test_every_word_is_a_row(tree):
    write_meg(tree, "01", WORDS, session="a")
    recording = only(BIDSSpeech(), tree)
    assert recording.ids == {
        "patient": "sub-01", "session": "sub-01/ses-a", "recording": "sub-01_ses-a_task-listen_meg",
    }  # fmt: skip
    assert recording.labels["task"] == "listen"
    assert (recording.channels.names, recording.channels.types) == (("M1", "M2"), ("mag", "mag"))
    assert recording.channels.unit == "fT"
    np.testing.assert_allclose(recording.data, 2.0, rtol=1e-6)
    np.testing.assert_allclose(recording.channels.positions, [[0.1, 0, 0.05], [0.1, 0.01, 0.05]], atol=1e-7)
    one, two = str(tree / "stimuli" / "story" / "one.wav"), str(tree / "stimuli" / "two.wav")
    assert recording.words.to_dict("records") == [
        {"onset": 2.25, "duration": 0.5, "word": "null", "sequence": "story/one/7", "sound": one, "sound_onset": 0.25},
        {"onset": 2.75, "duration": 0.0, "word": "2", "sequence": "story/one/7", "sound": one, "sound_onset": 0.75},
        {"onset": 9.0, "duration": 0.1, "word": "Hi", "sequence": "two", "sound": two, "sound_onset": 0.0},
    ]


def test_only_the_starts_of_sounds_are_rows(tree):
    write_meg(tree, "01", STARTS)
    (tree / "stimuli/story/one.tsv").write_text(
        "word\tonset\tduration\tsequence\nOnce\t0.25\t0.3\t1\nn/a\t0.5\t0.1\t1\ntime\t0.6\t0.2\tn/a\n"
    )
    words = only(BIDSSpeech(), tree).words
    assert words["onset"].tolist() == [5.25, 5.5, 5.6, 9.25, 9.5]
    assert words["sound_onset"].tolist() == [0.25, 0.5, 0.6, 0.25, 0.5]
    assert words["word"].tolist() == ["Once", None, "time", "Once", None]
    assert words["sequence"].tolist() == ["story/one/1", "story/one/1", "story/one", "story/one/1", "story/one/1"]


def test_a_sound_that_starts_in_its_middle(tree):
    rows = ["onset\tduration\tword", "0.25\t0.3\ta", "0.5\t0.3\tb", "0.75\t0.1\tc", "1.0\t0.1\td"]
    (tree / "stimuli/two.tsv").write_text("\n".join(rows))
    write_meg(tree, "01", "onset\tduration\tstim_file\tbegin\n5.1\t0.5\ttwo.wav\t0.5\n")
    words = only(BIDSSpeech(sound_onset="begin"), tree).words
    assert words["word"].tolist() == ["b", "c"]
    np.testing.assert_allclose(words["onset"], [5.1, 5.35])
    assert words["sound_onset"].tolist() == [0.5, 0.75]


def test_columns_of_another_name_and_another_folder_of_sounds(tree, tmp_path):
    write_meg(tree, "01", "onset\tduration\tfile\ttoken\tpart\n1\t0.5\tOne.WAV\ta\t3\n1.5\t0.5\tOne.WAV\tb\t3\n")
    study = BIDSSpeech(sound_file="file", word="token", sequence="part")
    study.speech = tree / "stimuli" / "story"
    words = only(study, tree).words
    assert words["sound"].unique().tolist() == [str(tree / "stimuli" / "story" / "one.wav")]
    assert words["sequence"].tolist() == ["One/3", "One/3"]
    assert words["sound_onset"].tolist() == [0.0, 0.5]


def test_filters_and_windows(tree):
    for subject, task in (("01", "listen"), ("02", "listen"), ("02", "rest")):
        write_meg(tree, subject, WORDS, task=task)
    data = BIDSSpeech(tasks=["listen"], subjects=["02"]).load(tree)
    assert data.levels == ("patient", "session", "recording", "trial")
    assert data.metadata["recording"].unique().tolist() == ["sub-02_task-listen_meg"]
    assert data.shape == (6, 2, 360)


def test_eeg_with_positions(tmp_path):
    import edfio
    import mne
    import mne_bids

    names = ["Cz", "Fz", "Oz"]
    noise = np.random.default_rng(0).normal(0, 20, (3, 1000))
    signals = [edfio.EdfSignal(x, 100, label=n, physical_dimension="uV") for x, n in zip(noise, names, strict=True)]
    edfio.Edf(signals).write(tmp_path / "a.edf")
    raw = mne.io.read_raw_edf(tmp_path / "a.edf", verbose="error")
    raw.set_channel_types(dict.fromkeys(names, "eeg"), verbose="error")
    raw.set_montage("standard_1020", verbose="error")
    raw.info["line_freq"] = 50
    root = tmp_path / "tree"
    path = mne_bids.BIDSPath(subject="01", task="listen", datatype="eeg", root=root)
    mne_bids.write_raw_bids(raw, path, verbose="error")
    write_wav(root / "stimuli" / "one.wav")
    (root / "sub-01/eeg/sub-01_task-listen_events.tsv").write_text(
        "onset\tduration\tstim_file\tword\n1\t0.5\tone.wav\ta\n"
    )
    recording = only(BIDSSpeech("eeg"), root)
    assert recording.channels.unit == "uV"
    assert recording.channels.names == ("Cz", "Fz", "Oz")
    head = np.array([raw.info["chs"][i]["loc"][:3] for i in range(3)])
    np.testing.assert_allclose(recording.channels.positions, head, atol=2e-3)
    with pytest.raises(DataError, match="no meg recordings"):
        BIDSSpeech("meg").sources(root)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [LONG, SHORT])
def test_textgrid(tmp_path, text, encoding):
    path = tmp_path / "one.TextGrid"
    path.write_text(text, encoding=encoding)
    expected = [
        {"onset": 0.25, "duration": 0.5, "word": 'zei "ja"'},
        {"onset": 0.75, "duration": 0.75, "word": "2"},
    ]
    assert read_textgrid(path) == expected
    assert sound_words(tmp_path / "one.wav") == [{**row, "sequence": None} for row in expected]
    assert sound_words(tmp_path / "two.wav") is None


def test_damaged_textgrids(tmp_path):
    path = tmp_path / "one.TextGrid"
    path.write_text(SHORT[:-20])
    with pytest.raises(DataError, match=r"one\.TextGrid: its tier of words is damaged"):
        read_textgrid(path)
    path.write_text(LONG.replace('"words"', '"zinnen"'))
    with pytest.raises(DataError, match="no interval tier 'words'"):
        read_textgrid(path)
    path.write_bytes(b"\x80\x81")
    with pytest.raises(DataError, match="UTF-8 or UTF-16"):
        read_textgrid(path)


def test_find_sound_ignores_case(tmp_path):
    write_wav(tmp_path / "the_black_willow_0.wav")
    assert find_sound(tmp_path, "The_Black_Willow_0.wav").name == "the_black_willow_0.wav"
    assert find_sound(tmp_path, "none.wav") == tmp_path / "none.wav"


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ("onset\tduration\tword\n1\t1\ta\n", r"events\.tsv has no column 'stim_file', it has \['onset', 'dura"),
        ("onset\tstim_file\n1\ttwo.wav\n", r"events\.tsv has no columns \['duration'\]"),
        ("onset\tduration\tstim_file\n1\tlong\ttwo.wav\n", r"row 0 of the column 'duration' is 'long'"),
        (
            "onset\tduration\tstim_file\tsound_onset\n1\t1\ttwo.wav\tx\n",
            r"row 0 of the column 'sound_onset' is 'x'",
        ),
        (STARTS, r"no row has a 'word' and .*one\.tsv does not exist"),
        ("onset\tduration\tstim_file\tword\n1\t1\tn/a\ta\n", "not one heard word"),
        ("onset\tduration\tstim_file\tword\n99\t1\ttwo.wav\ta\n", r"lie outside the recording \(20\.00 s\)"),
        ("", "cannot be read as a table"),
    ],
)  # fmt: skip
def test_wrong_events(tree, events, said):
    write_meg(tree, "01", events)
    with pytest.raises(DataError, match=said):
        only(BIDSSpeech(), tree)


def test_missing_files(tree):
    with pytest.raises(DataNotFoundError, match="bids_speech: .* has no sub-"):
        BIDSSpeech().load(tree)
    path = write_meg(tree, "01", WORDS)
    path.with_name("sub-01_task-listen_events.tsv").unlink()
    with pytest.raises(DataNotFoundError, match=r"sub-01_task-listen_events\.tsv does not exist"):
        read_events(path)
    study = BIDSSpeech()
    study.speech = tree / "nowhere"
    with pytest.raises(DataNotFoundError, match="folder of the sound files .*nowhere does not exist"):
        study.sources(tree)
    with pytest.raises(ConfigError, match="datatype='ieeg'"):
        BIDSSpeech("ieeg")
