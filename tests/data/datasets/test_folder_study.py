"""Folder: any recordings; patients from folders or names, labels from a table."""

import json

import numpy as np
import pytest

from tscl.data.datasets import Folder
from tscl.data.datasets.folder import read_labels
from tscl.errors import ConfigError, DataError, DataNotFoundError


def write_npz(path, seconds=4, seed=0, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = np.random.default_rng(seed).normal(size=(2, round(seconds * 50))).astype("float32")
    np.savez(path, X=signals, sfreq=50.0, ch_names=np.array(["a", "b"]), **more)


def write_edf(path, names=("EEG Cz", "EEG Pz", "ECG II"), sfreq=100, seconds=6):
    edfio = pytest.importorskip("edfio")
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.stem))
    signals = [
        edfio.EdfSignal(rng.normal(0, 20, seconds * sfreq), sfreq, label=name, physical_dimension="uV")
        for name in names
    ]
    edfio.Edf(signals).write(path)


def test_edf_in_patient_folders_with_a_table(tmp_path, caplog):
    for patient in ("anna", "bert", "cleo"):
        write_edf(tmp_path / patient / "night.edf")
    write_edf(tmp_path / "anna" / "day.edf")
    (tmp_path / "labels.csv").write_text("who,group,age\nanna,sick,61\nbert,well,59\ncleo,,\n")
    study = Folder(
        pattern="**/*.edf", participants="labels.csv", target="group", types=["eeg"], low=1.0, high=30.0, sfreq=64.0,
        trial_seconds=3.0, seconds=1.0,
    )  # fmt: skip
    data = study.load(tmp_path)
    assert data.shape == (4 * 2 * 5, 2, 64)
    assert data.levels == ("patient", "recording", "trial")
    assert data.metadata["recording"].unique().tolist() == ["anna/day", "anna/night", "bert/night", "cleo/night"]
    assert data.classes == ("sick", "well")
    assert data.y.tolist() == [0] * 20 + [1] * 10 + [-1] * 10
    assert "1 of 3 patients have no 'group'" in caplog.text
    assert "cleo" in caplog.text
    assert data.metadata["age"].iloc[0] == 61


def test_regular_expression_gives_patient_and_columns(tmp_path):
    write_npz(tmp_path / "S01_rest.npz")
    write_npz(tmp_path / "S02_task.npz", seed=1)
    study = Folder(patient=r"(?P<patient>S\d+)_(?P<task>\w+)\.", target="task", seconds=2.0, overlap=0.0, scale=None)
    data = study.load(tmp_path)
    assert data.metadata[["patient", "task", "trial"]].drop_duplicates().to_numpy().tolist() == [
        ["S01", "rest", "S01_rest/000"], ["S02", "task", "S02_task/000"],
    ]  # fmt: skip
    assert data.shape == (4, 2, 100)
    np.testing.assert_array_equal(data.numpy()[0], np.load(tmp_path / "S01_rest.npz")["X"][:, :100])


def test_patient_by_file_and_table_by_file_name(tmp_path):
    write_npz(tmp_path / "a.npz")
    write_npz(tmp_path / "b.npz", seed=1)
    (tmp_path / "t.tsv").write_text("nr\tfile\tage\n1\ta.npz\t50\n2\tb.npz\tn/a\n")
    data = Folder(patient="file", participants="t.tsv", key="file", target="age").load(tmp_path)
    assert data.metadata.drop_duplicates("patient")["age"].isna().tolist() == [False, True]
    assert data.metadata["nr"].unique().tolist() == [1, 2]


def test_without_target_everything_serves_pretraining(tmp_path):
    write_npz(tmp_path / "p" / "a.npz")
    data = Folder().load(tmp_path)
    assert data.y is None
    assert data.metadata["patient"].unique().tolist() == ["p"]


def test_files_that_differ_say_how(tmp_path):
    write_edf(tmp_path / "p" / "a.edf")
    write_edf(tmp_path / "q" / "b.edf", names=("EEG Cz", "EEG Oz", "ECG II"))
    with pytest.raises(DataError, match=r"b\.edf does not fit .*a\.edf: missing channels \['Pz'\]"):
        Folder().load(tmp_path)
    data = Folder(channels=["Cz"]).load(tmp_path)
    assert data.channels.names == ("Cz",)
    write_edf(tmp_path / "r" / "c.edf", sfreq=50)
    with pytest.raises(DataError, match="50 Hz instead of 100 Hz"):
        Folder(channels=["Cz"]).load(tmp_path)
    assert Folder(channels=["Cz"], sfreq=50.0).load(tmp_path).shape[2] == 50


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"patient": "("}, "no regular expression"),
        ({"patient": r"S\d+"}, r"have a group \(\?P<patient>"),
        ({"target": "sick"}, "needs a table of labels"),
        ({"scale": "minmax"}, "scale='minmax'"),
        ({"channels": ["a"], "types": ["eeg"]}, "not both"),
    ],
)
def test_wrong_settings(settings, said):
    with pytest.raises(ConfigError, match=said):
        Folder(**settings)


def test_wrong_folders(tmp_path):
    with pytest.raises(DataNotFoundError, match="is empty"):
        Folder(pattern="*.edf").load(tmp_path)
    write_npz(tmp_path / "a.npz")
    with pytest.raises(DataError, match="lies in no patient's folder"):
        Folder().load(tmp_path)
    with pytest.raises(DataError, match=r"finds no patient in 'a\.npz'"):
        Folder(patient=r"(?P<patient>S\d+)").load(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"t\.csv does not exist"):
        Folder(patient="file", participants="t.csv", target="x").load(tmp_path)
    (tmp_path / "t.csv").write_text("who,x\nb,1\n")
    with pytest.raises(DataError, match="none of its keys"):
        Folder(patient="file", participants="t.csv", target="x").load(tmp_path)
    (tmp_path / "t.csv").write_text("who,y\na,1\n")
    with pytest.raises(DataError, match="no 'x' for any"):
        Folder(patient="file", participants="t.csv", target="x").load(tmp_path)
    (tmp_path / "t.csv").write_text("who,x\na,1\na,2\n")
    with pytest.raises(DataError, match="several rows with who = 'a'"):
        Folder(patient="file", participants="t.csv", target="x").load(tmp_path)
    with pytest.raises(DataError, match="no column 'id'"):
        read_labels(tmp_path / "t.csv", "id")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_labels(tmp_path / "t.csv", None)


def test_labels_are_plain_python_values(tmp_path):
    (tmp_path / "t.tsv").write_text("participant_id\tage\tsex\tsick\nsub-01\t61\tF\tTrue\n007\tn/a\t\tFalse\n")
    labels = read_labels(tmp_path / "t.tsv", None)
    assert labels["007"] == {"age": None, "sex": None, "sick": False}
    assert json.dumps(labels["sub-01"]) == '{"age": 61.0, "sex": "F", "sick": true}'


def test_bids_tree(tmp_path):
    mne_bids = pytest.importorskip("mne_bids")
    import mne

    from tscl.data.datasets import BIDSFolder

    root = tmp_path / "tree"
    for subject, task in (("01", "rest"), ("01", "count"), ("02", "rest")):
        write_edf(tmp_path / f"{subject}{task}.edf", names=("Cz", "Pz", "heart"))
        raw = mne.io.read_raw_edf(tmp_path / f"{subject}{task}.edf", verbose="error")
        raw.set_channel_types({"Cz": "eeg", "Pz": "eeg", "heart": "ecg"}, verbose="error")
        raw.info["line_freq"] = 50
        path = mne_bids.BIDSPath(subject=subject, session="a", task=task, run="1", datatype="eeg", root=root)
        mne_bids.write_raw_bids(raw, path, verbose="error", overwrite=True)
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tsick\nsub-02\tn/a\n")
    data = BIDSFolder(target="group", types=["eeg"], trial_seconds=3.0).load(root)
    assert data.levels == ("patient", "session", "recording", "trial")
    assert data.shape == (3 * 2 * 5, 2, 100)
    assert data.channels.types == ("eeg", "eeg")
    assert data.metadata.drop_duplicates("recording")[
        ["patient", "session", "task", "run", "group"]
    ].to_numpy().tolist() == [
        ["sub-01", "sub-01/ses-a", "count", "1", "sick"],
        ["sub-01", "sub-01/ses-a", "rest", "1", "sick"],
        ["sub-02", "sub-02/ses-a", "rest", "1", None],
    ]
    assert len(BIDSFolder(tasks=["count"], types=["eeg"]).load(root).metadata["recording"].unique()) == 1
    with pytest.raises(DataError, match="no eeg recordings"):
        BIDSFolder(tasks=["sleep"]).load(root)
    with pytest.raises(ConfigError, match="datatype='nirs'"):
        BIDSFolder(datatype="nirs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="bids: .* is empty"):
        BIDSFolder().load(tmp_path / "empty")
    broken = next(root.glob("sub-02/**/*.edf"))
    broken.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"sub-02_ses-a_task-rest_run-1_eeg\.edf cannot be read by mne-bids"):
        BIDSFolder(types=["eeg"]).load(root)
