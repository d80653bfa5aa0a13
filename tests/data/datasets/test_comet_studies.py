"""AD, PTB and TDBrain: on small files in their real layouts, raw and processed."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from tscl.data.datasets import AD, PTB, TDBrain
from tscl.data.datasets.ad import ILL
from tscl.data.datasets.ad import PUBLISHED as AD_PARTS
from tscl.data.datasets.tdbrain import ELECTRODES, OTHERS, read_participants, read_tdbrain_csv
from tscl.data.datasets.tdbrain import PUBLISHED as TDBRAIN_PARTS
from tscl.data.recording import Channels
from tscl.data.windows import WindowDataset
from tscl.errors import DataError, DataNotFoundError


def write_processed(root, labels, trials, n_times, n_channels, digits=2):
    """The authors' layout: features (trials, T, C), labels (label, id)."""
    (root / "Feature").mkdir(parents=True)
    (root / "Label").mkdir()
    made = {}
    for number in range(1, len(labels) + 1):
        made[number] = np.random.default_rng(number).normal(size=(trials, n_times, n_channels))
        np.save(root / "Feature" / f"feature_{number:0{digits}d}.npy", made[number])
    np.save(root / "Label" / "label.npy", np.column_stack([labels, np.arange(1, len(labels) + 1)]).astype(float))
    return made


def write_ad(path, trials):
    """A FieldTrip-like structure whose third field is a cell array of trials, as the authors' notebook reads it."""
    cells = np.empty((1, len(trials)), dtype=object)
    for number, trial in enumerate(trials):
        cells[0, number] = trial
    times = np.empty((1, len(trials)), dtype=object)
    times[:] = [[np.arange(1280) / 256.0 for _ in trials]]
    savemat(path, {"data": {"label": "x", "time": times, "trial": cells, "fsample": 256.0}})


def test_ad_raw_files(tmp_path, caplog):
    rng = np.random.default_rng(0)
    trials = {number: rng.normal(5, 3, (2 if number == 3 else 1, 16, 1280)) for number in (3, 4, 17)}
    for number, values in trials.items():
        write_ad(tmp_path / f"person{number:02d}.mat", list(values))
    data = AD().load(tmp_path)
    assert "3 of 23 patients" in caplog.text
    assert data.shape == (4 * 9, 16, 256)
    assert data.levels == ("patient", "trial")
    people = data.metadata.drop_duplicates("patient").set_index("patient")["alzheimer"]
    assert people.to_dict() == {"3": 1, "4": 0, "17": 1}
    trial = trials[3][1]
    scaled = (trial - trial.mean(1, keepdims=True)) / trial.std(1, keepdims=True)
    np.testing.assert_allclose(data.numpy()[9], scaled[:, :256], atol=1e-4)
    np.testing.assert_allclose(data.numpy()[10], scaled[:, 128:384], atol=1e-4)
    assert data.metadata["onset"][:9].tolist() == [i / 2 for i in range(9)]


def test_ad_numbers_23_files_in_alphabetical_order(tmp_path):
    for letter in range(23):
        write_ad(tmp_path / f"{chr(97 + letter)}.mat", [np.zeros((16, 1280))])
    sources = AD().sources(tmp_path)
    assert [int(s.ids["patient"]) for s in sources if s.labels["alzheimer"]] == sorted(ILL)
    assert [s.path[-5:] for s in sources[:2]] == ["a.mat", "b.mat"]
    (tmp_path / "w.mat").unlink()
    with pytest.raises(DataError, match="22 .mat files"):
        AD().load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"other": 1}, "no variable 'data'"),
        ({"data": np.zeros((3, 3))}, "no structure"),
        ({"data": {"trial": np.zeros((16, 1280))}}, "no field of 'data' has trials"),
        (None, "cannot be read as a .mat file"),
    ],
)
def test_ad_wrong_files(tmp_path, content, said):
    path = tmp_path / "p01.mat"
    path.write_bytes(b"no matlab file") if content is None else savemat(path, content)
    with pytest.raises(DataError, match=said):
        AD().load(tmp_path)


def test_ad_processed_layout_and_split(tmp_path):
    labels = [int(i in ILL) for i in range(1, 24)]
    made = write_processed(tmp_path, labels, 1, 1280, 16)
    data = AD().load(tmp_path)
    assert data.shape == (23 * 9, 16, 256)
    people = data.metadata.drop_duplicates("patient").set_index("patient")["alzheimer"]
    assert people.to_dict() == {str(i + 1): label for i, label in enumerate(labels)}
    trial = made[7][0].T
    scaled = (trial - trial.mean(1, keepdims=True)) / trial.std(1, keepdims=True)
    np.testing.assert_allclose(data.select("patient == '7'").numpy()[8], scaled[:, 1024:], atol=1e-4)
    split = AD().published_split(data)
    assert [sorted(set(part.metadata["patient"]), key=int) for part in (split.val, split.test)] == [
        ["17", "18"],
        ["19", "20"],
    ]
    assert len(AD_PARTS["train"]) == 19


def header(path, reason, record="s1", n_times=100):
    path.mkdir(parents=True, exist_ok=True)
    text = f"{record} 1 1000 {n_times}\n{record}.dat 16 2000 16 0 0 0 0 i\n# age: 61\n# sex: male\n"
    (path / f"{record}.hea").write_text(text + f"# Reason for admission: {reason}\n")


def test_ptb_people_by_reason_for_admission(tmp_path):
    header(tmp_path / "patient010", "Healthy control")
    header(tmp_path / "patient002", "Myocardial infarction")
    header(tmp_path / "patient002", "n/a", record="s2")
    header(tmp_path / "patient003", "Cardiomyopathy")
    sources = PTB().sources(tmp_path)
    assert [(s.ids["patient"], s.ids["recording"], s.labels["infarction"]) for s in sources] == [
        ("002", "s1", 1), ("002", "s2", 1), ("010", "s1", 0),
    ]  # fmt: skip
    assert sources[0].labels["sex"] == "M"
    assert sources[0].labels["age"] == 61.0
    shutil.rmtree(tmp_path / "patient002")
    shutil.rmtree(tmp_path / "patient010")
    with pytest.raises(DataError, match="no record with the reason for admission"):
        PTB().load(tmp_path)


def test_ptb_heartbeats_of_a_real_record(shared_data, tmp_path):
    (tmp_path / "patient001").mkdir()
    for suffix in ("hea", "dat", "xyz"):
        shutil.copy(shared_data / "wfdb_samples" / f"s0010_re.{suffix}", tmp_path / "patient001")
    data = PTB().load(tmp_path)
    assert data.shape[1:] == (15, 300)
    assert data.channels.names[:6] == ("I", "II", "III", "aVR", "aVL", "aVF")
    assert data.channels.names[-3:] == ("Vx", "Vy", "Vz")
    assert data.metadata["infarction"].unique().tolist() == [1]
    assert data.metadata.groupby("trial").size().eq(10).all()
    assert len(data) == 50  # 38.4 s at about 82 beats a minute: 5 trials of ten beats
    beat = np.abs(data.numpy()).mean((0, 1))
    assert beat[:50].max() < 0.2 * beat.max()
    assert 140 < beat.argmax() < 160


def test_ptb_processed_layout(tmp_path):
    made = write_processed(tmp_path, [1, 0], 2, 3000, 15, digits=3)
    data = PTB().load(tmp_path)
    assert data.shape == (2 * 2 * 10, 15, 300)
    assert data.metadata.drop_duplicates("patient")["infarction"].tolist() == [1, 0]
    trial = made[2][1].T
    scaled = (trial - trial.mean(1, keepdims=True)) / trial.std(1, keepdims=True)
    np.testing.assert_allclose(data.numpy()[-1], scaled[:, 2700:], atol=1e-4)


def ptb_people(labels):
    table = pd.DataFrame({"patient": [f"{i + 1:03d}" for i in range(len(labels))], "infarction": labels, "trial": "0"})
    return WindowDataset(np.zeros((len(table), 1, 2), np.float32), table, Channels(("I",), ("ecg",), "mV", 250.0))


def test_ptb_split_equals_the_authors(caplog):
    healthy = {
        104, 105, 108, 109, 111, 112, 114, 124, 126, 127, *range(131, 140), 141, 142, 147, 151, 154, *range(157, 176),
        177, 179, 180, 182, 183, 187, 188, 192,
    }  # fmt: skip
    labels = [int(i not in healthy) for i in range(1, 199)]
    split = PTB().published_split(ptb_people(labels))
    validation, test = ({int(p) for p in part.metadata["patient"]} for part in (split.val, split.test))
    assert test == {
        179, 180, 182, 183, 187, 188, 192, 149, 150, 152, 153, 155, 156, 176, 178, 181, 184, 185, 186, 189, 190, 191,
        193, 194, 195, 196, 197, 198,
    }  # fmt: skip
    assert validation == {
        170, 171, 172, 173, 174, 175, 177, 110, 113, 115, 116, 117, 118, 119, 120, 121, 122, 123, 125, 128, 129, 130,
        140, 143, 144, 145, 146, 148,
    }  # fmt: skip
    assert len(split.train) == 198 - 56
    assert PTB().published_split(ptb_people([0, 1] * 12)) is None
    assert "too few for the published split" in caplog.text


PEOPLE = "participants_ID\tDISC/REP\tindication\n" + "".join(
    f"sub-{i}\tDISCOVERY\t{word}\n"
    for i, word in enumerate(
        ["HEALTHY", "MDD", "Healthy ", "HEALTHY", "PARKINSON", "REPLICATION", "", "parkinson"], 100
    )
)
REPEATED = PEOPLE + "sub-100\tDISCOVERY\tHEALTHY\n\tDISCOVERY\tHEALTHY\n"


def test_tdbrain_numbers_people_as_the_authors(tmp_path):
    (tmp_path / "p.tsv").write_text(REPEATED)
    people = read_participants(tmp_path / "p.tsv")
    assert people["number"].to_dict() == {
        "sub-100": "1",
        "sub-102": "2",
        "sub-103": "3",
        "sub-104": "4",
        "sub-107": "5",
    }
    assert people["parkinson"].tolist() == [0, 0, 0, 1, 1]
    (tmp_path / "p.tsv").write_text("participants_ID\tage\n")
    with pytest.raises(DataError, match="no column 'indication'"):
        read_participants(tmp_path / "p.tsv")


def write_tdbrain(root, participant, seconds=23.0, task="EC", columns=(*ELECTRODES, *OTHERS)):
    folder = root / "derivatives" / participant / "ses-1" / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(1).normal(size=(round(seconds * 500), len(columns))).cumsum(0)
    table = pd.DataFrame(values, columns=list(columns))
    table.to_csv(folder / f"{participant}_ses-1_task-rest{task}_eeg.csv", index=False, float_format="%.3f")
    return values


def test_tdbrain_raw_files(tmp_path):
    for participant in ("sub-100", "sub-101", "sub-107"):
        write_tdbrain(tmp_path, participant)
    write_tdbrain(tmp_path, "sub-100", seconds=0.1, task="EO")
    (tmp_path / "derivatives" / "TDBRAIN_participants_V2.tsv").write_text(REPEATED)
    data = TDBrain().load(tmp_path)
    assert data.shape == (2 * 2 * 19, 33, 256)
    assert data.metadata.drop_duplicates("patient")[["patient", "parkinson", "participant"]].to_numpy().tolist() == [
        ["1", 0, "sub-100"], ["5", 1, "sub-107"],
    ]  # fmt: skip
    assert data.channels.types.count("eeg") == 26
    assert data.metadata["onset"].iloc[0] == pytest.approx(1.5, abs=0.01)
    assert data.metadata["onset"].iloc[19] == pytest.approx(11.5, abs=0.01)


def test_tdbrain_errors(tmp_path):
    write_tdbrain(tmp_path, "sub-900", seconds=0.1)
    with pytest.raises(DataNotFoundError, match=r"has no TDBRAIN_participants_V2\.tsv"):
        TDBrain().load(tmp_path)
    (tmp_path / "TDBRAIN_participants_V2.tsv").write_text(PEOPLE)
    with pytest.raises(DataError, match=r"no \*EC\*\.csv of the people"):
        TDBrain().load(tmp_path)
    write_tdbrain(tmp_path, "sub-100", columns=ELECTRODES, seconds=0.1)
    path = next(tmp_path.glob("derivatives/sub-100/ses-1/eeg/*.csv"))
    with pytest.raises(DataError, match="has 26 columns"):
        read_tdbrain_csv(str(path))
    path.write_text("a,b\n1,x\n")
    with pytest.raises(DataError, match="cannot be read as numbers"):
        read_tdbrain_csv(str(path))


def test_tdbrain_processed_layout_and_split(tmp_path):
    labels = [0] * 28 + [1] * 25 + [0] * 2
    write_processed(tmp_path, labels, 1, 2560, 33)
    data = TDBrain().load(tmp_path)
    assert set(data.metadata["patient"]) == {str(i) for i in (*range(1, 26), *range(29, 54))}
    assert data.shape == (50 * 19, 33, 256)
    split = TDBrain().published_split(data)
    for part, size in ((split.train, 34), (split.val, 8), (split.test, 8)):
        people = part.metadata.drop_duplicates("patient")
        assert len(people) == size
        assert people["parkinson"].mean() == 0.5
    assert TDBRAIN_PARTS["test"] == ("22", "23", "24", "25", "50", "51", "52", "53")
