"""Broderick 2019 on small files in the layout of the Dryad archive, and on broken ones."""

import logging
import pickle

import mne
import numpy as np
import pytest
from scipy.io import savemat

from tscl.data.datasets.broderick2019 import Broderick2019, read_text, sentence_numbers
from tscl.errors import ConfigError, DataError, DataNotFoundError

WORDS = ["He", "was", "old", "", "fished"]
ONSET = np.array([0.5, 0.75, 1.0, 2.0, 2.5])
OFFSET = np.array([0.75, 1.0, 1.25, 2.4, 3.25])


def cells(texts):
    column = np.empty((len(texts), 1), dtype=object)
    column[:, 0] = [text or np.empty((0, 0)) for text in texts]
    return column


def write_text(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = {
        "wordVec": cells(WORDS),
        "onset_time": ONSET[:, None],
        "offset_time": OFFSET[:, None],
        "sentence_boundaries": np.array([[1.5, 3.25]]),
        **changes,
    }
    savemat(path, {name: value for name, value in variables.items() if value is not None})


def write_run(base, subject, run, rng, **changes):
    folder = base / "EEG" / f"Subject{subject}"
    folder.mkdir(parents=True, exist_ok=True)
    variables = {"eegData": rng.normal(0, 20, (512, 128)), "mastoids": rng.normal(0, 5, (512, 2)), "fs": 128.0}
    variables.update(changes)
    savemat(folder / f"Subject{subject}_Run{run}.mat", variables)
    write_text(base / "Stimuli" / "Text" / f"Run{run}.mat")
    return variables


@pytest.fixture
def base(tmp_path):
    return tmp_path / "Natural Speech"


def test_a_run_as_in_the_archive(base):
    rng = np.random.default_rng(0)
    first = write_run(base, 2, 1, rng)
    write_run(base, 10, 12, rng)
    study = Broderick2019()
    sources = study.sources(study.find(base.parent))
    assert [source.ids for source in sources] == [
        {"patient": "Subject2", "recording": "Subject2_Run1"},
        {"patient": "Subject10", "recording": "Subject10_Run12"},
    ]
    assert [source.labels for source in sources] == [{"run": 1}, {"run": 12}]
    (recording,) = pickle.loads(pickle.dumps(sources[0])).load()
    assert recording.channels.names[:2] + recording.channels.names[-1:] == ("A1", "A2", "D32")
    assert recording.channels.types == ("eeg",) * 128
    assert (recording.channels.unit, recording.sfreq, recording.duration) == ("uV", 128.0, 4.0)
    expected = first["eegData"].T - first["mastoids"].mean(axis=1)
    np.testing.assert_array_equal(recording.data, expected.astype(np.float32))

    words = recording.words
    assert words["word"].tolist() == ["He", "was", "old", None, "fished"]
    np.testing.assert_array_equal(words["onset"], ONSET)
    np.testing.assert_array_equal(words["sound_onset"], ONSET)
    np.testing.assert_allclose(words["duration"], OFFSET - ONSET)
    assert words["sequence"].tolist() == ["run01/sentence001"] * 3 + ["run01/sentence002"] * 2
    assert set(words["sound"]) == {str(base / "Stimuli" / "Audio" / "audio01.wav")}
    (other,) = sources[1].load()
    assert other.words["sequence"].tolist() == ["run12/sentence001"] * 3 + ["run12/sentence002"] * 2


def test_positions_are_those_of_the_biosemi_cap(base):
    write_run(base, 1, 1, np.random.default_rng(0))
    (recording,) = Broderick2019().sources(base)[0].load()
    info = mne.create_info(list(recording.channels.names), 128.0, "eeg").set_montage("biosemi128")
    np.testing.assert_allclose(recording.channels.positions, [channel["loc"][:3] for channel in info["chs"]])
    top, front = (recording.channels.positions[recording.channels.names.index(name)] for name in ("A1", "C17"))
    assert top[2] > 0.1
    assert front[1] > 0.08


def test_without_reference_and_without_mastoids(base):
    variables = write_run(base, 1, 1, np.random.default_rng(0))
    path = base / "EEG" / "Subject1" / "Subject1_Run1.mat"
    del variables["mastoids"]
    savemat(path, variables)
    (recording,) = Broderick2019(reference=None).sources(base)[0].load()
    np.testing.assert_array_equal(recording.data, variables["eegData"].T.astype(np.float32))
    with pytest.raises(DataError, match=r"Subject1_Run1\.mat has no variable 'mastoids'"):
        Broderick2019().sources(base)[0].load()
    with pytest.raises(ConfigError, match="reference='average' must be 'mastoids' or None"):
        Broderick2019(reference="average")
    assert repr(Broderick2019()) == "Broderick2019(reference='mastoids')"


@pytest.mark.parametrize("name", ["audio3.wav", "Run3.wav", "audio03.wav"])
def test_sounds_under_each_name_and_in_another_folder(base, tmp_path, name):
    write_run(base, 1, 3, np.random.default_rng(0))
    study = Broderick2019()
    study.speech = tmp_path / "sounds"
    study.speech.mkdir()
    (study.speech / name).touch()
    (recording,) = study.sources(base)[0].load()
    assert set(recording.words["sound"]) == {str(study.speech / name)}


def test_sentences_by_boundaries_and_by_pauses(caplog):
    starts = sentence_numbers(ONSET, OFFSET, np.array([0.5, 2.0]), "Run1.mat")
    ends = sentence_numbers(ONSET, OFFSET, np.array([1.25, 3.25]), "Run1.mat")
    assert starts.tolist() == ends.tolist() == [1, 1, 1, 2, 2]
    assert not caplog.records
    apart = ONSET + np.array([0, 0, 0, 0, 0.5])
    for boundaries in ([], [1.0, 4.0, 60.0], [2.0, 1.0], [-1.0, 2.0]):
        with caplog.at_level(logging.WARNING):
            found = sentence_numbers(apart, OFFSET + (apart - ONSET), np.array(boundaries), "Run1.mat")
        assert found.tolist() == [1, 1, 1, 2, 3]
        assert "Run1.mat has no sentence boundaries in seconds" in caplog.text
        caplog.clear()


def test_text_of_a_single_word_and_without_boundaries(tmp_path):
    path = tmp_path / "Run1.mat"
    write_text(path, wordVec=cells(["sea"]), onset_time=1.0, offset_time=1.5, sentence_boundaries=None)
    assert read_text(path).to_dict("records") == [{"word": "sea", "onset": 1.0, "duration": 0.5, "sentence": 1}]


def test_words_after_the_end_are_left_out(base, caplog):
    rng = np.random.default_rng(0)
    write_run(base, 1, 1, rng, eegData=rng.normal(size=(288, 128)), mastoids=rng.normal(size=(288, 2)))
    with caplog.at_level(logging.WARNING):
        (recording,) = Broderick2019().sources(base)[0].load()
    assert recording.words["onset"].tolist() == [0.5, 0.75, 1.0, 2.0]
    assert "1 of 5 words" in caplog.text
    write_text(base / "Stimuli" / "Text" / "Run1.mat", onset_time=ONSET * 1000, offset_time=OFFSET * 1000)
    with pytest.raises(DataError, match="5 of 5 word onsets lie outside the recording"):
        Broderick2019().sources(base)[0].load()


def test_missing_files_say_what_to_fetch(base, tmp_path):
    with pytest.raises(DataNotFoundError, match=r"dryad\.070jc .*ds004408 into its folder Stimuli/Audio\.$"):
        Broderick2019().find(tmp_path)
    write_run(base, 1, 1, np.random.default_rng(0))
    (base / "Stimuli" / "Text" / "Run1.mat").unlink()
    with pytest.raises(DataNotFoundError, match=r"Run1\.mat, the text of Subject1_Run1\.mat, is missing\. Fetch"):
        Broderick2019().sources(base)
    (base / "EEG" / "Subject1" / "Subject1_Run1.mat").unlink()
    with pytest.raises(DataNotFoundError, match="has no EEG/Subject"):
        Broderick2019().sources(base)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eegData": np.zeros((128, 512))}, r"eegData has shape \(128, 512\), expected \(samples, 128\)"),
        ({"mastoids": np.zeros((512, 3))}, r"mastoids has shape \(512, 3\), expected \(samples, 2\)"),
        ({"mastoids": np.zeros((500, 2))}, "mastoids has 500 samples and eegData 512"),
        ({"fs": 0.0}, r"fs is \[0\.0\], expected one sampling rate"),
    ],
)
def test_wrong_eeg_files(base, changes, said):
    write_run(base, 1, 1, np.random.default_rng(0), **changes)
    with pytest.raises(DataError, match=r"Subject1_Run1\.mat: " + said):
        Broderick2019().sources(base)[0].load()


def test_wrong_and_damaged_text_files(tmp_path):
    path = tmp_path / "Run1.mat"
    write_text(path, onset_time=ONSET[:4])
    with pytest.raises(DataError, match=r"Run1\.mat: 5 words in wordVec, but 4 values in onset_time and 5 in"):
        read_text(path)
    write_text(path, offset_time=None)
    with pytest.raises(DataError, match=r"Run1\.mat has no variable 'offset_time'"):
        read_text(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 64)
    with pytest.raises(DataError, match=r"Run1\.mat is a MATLAB 7\.3 \(HDF5\) file.* save it again with '-v7'\.$"):
        read_text(path)
    path.write_bytes(b"no MATLAB file at all")
    with pytest.raises(DataError, match=r"Run1\.mat cannot be read as a \.mat file"):
        read_text(path)
