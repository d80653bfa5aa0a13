"""LUDB, MIT-BIH and Challenge 2021: on real records, and on the ways in which their files can be wrong."""

import shutil

import numpy as np
import pytest
import wfdb
from scipy.signal import butter, sosfiltfilt

from tscl.data.datasets import LUDB, MITBIH, Challenge2021
from tscl.data.datasets.challenge2021 import DATABASES, database_of, labels_of
from tscl.data.datasets.leads import TWELVE_LEADS, as_number, comment_value
from tscl.data.datasets.ludb import read_table
from tscl.data.datasets.mitdb import AAMI, DS1, DS2, read_beats
from tscl.errors import ConfigError, DataError, DataNotFoundError

QUIRKS = (
    "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
    "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states\r\n"
    '4,"M\n","56\n",Sinus rhythm,Electric axis of the heart: left axis deviation,,,"Left atrial hypertrophy\n'
    'Right ventricular hypertrophy",,,,\r\n'
    '5,"F\n",">89\n","Atrial fibrillation\nAberrant conduction",,,,Left ventricular overload,'
    "Unipolar atrial pacing,Ischemia: apical,,\r\n"
)


def test_ludb_table_with_line_breaks_inside_cells(tmp_path):
    (tmp_path / "ludb.csv").write_bytes(QUIRKS.encode())
    table = read_table(tmp_path / "ludb.csv")
    assert table.loc["4", ["sex", "age", "axis"]].tolist() == ["M", "56", "left axis deviation"]
    assert table.loc["4", "hypertrophies"] == "left atrial hypertrophy; right ventricular hypertrophy"
    assert table.loc["5", "rhythm"] == "atrial fibrillation; aberrant conduction"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as a table"),
        ("ID,Sex\n1,M\n", "no column 'Age'"),
        (QUIRKS + QUIRKS.split("\r\n", 1)[1], "twice"),
    ],
)
def test_ludb_table_that_cannot_be_used(tmp_path, text, said):
    (tmp_path / "ludb.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "ludb.csv")


def few_of_ludb(shared_data, folder, records):
    (folder / "data").mkdir()
    shutil.copy(shared_data / "ludb" / "ludb.csv", folder)
    for record in records:
        for suffix in ("hea", "dat"):
            shutil.copy(shared_data / "ludb" / "data" / f"{record}.{suffix}", folder / "data")
    return folder


def test_ludb_on_real_records(shared_data, tmp_path):
    data = LUDB().load(few_of_ludb(shared_data, tmp_path, (4, 5, 8)))
    assert data.shape == (24, 12, 250)
    assert data.channels.names == TWELVE_LEADS
    assert data.channels.unit == "mV"
    assert data.levels == ("patient", "trial")
    people = data.metadata.drop_duplicates("patient").set_index("patient")
    assert people["ventricular_hypertrophy"].to_dict() == {"4": 1, "5": 0, "8": 0}
    assert people["left_atrial_hypertrophy"].to_dict() == {"4": 1, "5": 1, "8": 0}
    assert people["atrial_fibrillation"].to_dict() == {"4": 0, "5": 0, "8": 1}
    assert people.loc["8", ["sex", "age", "paced", "ischemia"]].tolist() == ["F", 57.0, 1, 1]
    assert people["axis"].to_dict() == {"4": "left axis deviation", "5": "horizontal", "8": None}
    assert data.metadata.groupby("trial")["onset"].first().unique().tolist() == [0.0, 5.0]
    raw = wfdb.rdrecord(str(tmp_path / "data" / "4")).p_signal.T
    filtered = sosfiltfilt(butter(4, [0.5, 40], "bandpass", fs=500, output="sos"), raw, axis=1)
    np.testing.assert_allclose(data.numpy()[0], filtered[:, :1000:4], atol=0.01)


def test_ludb_lists_the_whole_real_folder(shared_data):
    sources = LUDB().sources(shared_data / "ludb")
    assert len(sources) == 140
    assert [s.ids["patient"] for s in sources[:4]] == ["4", "5", "6", "7"]
    counted = {name: sum(s.labels[name] for s in sources) for name in LUDB.targets[:8]}
    assert counted == {
        "ventricular_hypertrophy": 77, "left_ventricular_hypertrophy": 76, "left_atrial_hypertrophy": 76,
        "sinus_rhythm": 131, "atrial_fibrillation": 8, "ischemia": 38, "conduction_abnormality": 40, "paced": 4,
    }  # fmt: skip


def test_ludb_without_records_or_rows(shared_data, tmp_path):
    few_of_ludb(shared_data, tmp_path, ())
    with pytest.raises(DataError, match="has no .hea files"):
        LUDB().load(tmp_path)
    shutil.copy(shared_data / "ludb" / "data" / "4.hea", tmp_path / "data" / "999.hea")
    with pytest.raises(DataError, match=r"no row for 999\.hea"):
        LUDB().load(tmp_path)


def test_mitbih_on_real_beats(shared_data, tmp_path):
    for name in ("100.hea", "100.dat", "100.atr"):
        shutil.copy(shared_data / "mitdb" / name, tmp_path)
    data = MITBIH().load(tmp_path)
    assert data.shape[1:] == (2, 126)
    assert data.metadata["symbol"].value_counts().to_dict() == {"N": 2237, "A": 33, "V": 1}
    assert data.metadata["beat"].value_counts().to_dict() == {"N": 2237, "S": 33, "V": 1}
    sizes = data.metadata.groupby("trial").size()
    assert set(sizes[:-1]) == {10}
    assert data.metadata.loc[0, ["patient", "recording", "trial", "sex", "age"]].tolist() == [
        "100",
        "100",
        "100/0000",
        "M",
        69.0,
    ]
    assert data.metadata["onset"].is_monotonic_increasing
    peaks = np.abs(data.numpy()[:, 0]).mean(0).argmax()
    assert abs(peaks / 180 - 0.28) < 0.03


def test_mitbih_without_annotations(shared_data):
    with pytest.raises(DataNotFoundError, match=r"223\.atr does not exist"):
        MITBIH().load(shared_data / "mitdb")
    data = MITBIH().load(shared_data / "mitdb", on_error="skip")
    assert set(data.metadata["patient"]) == {"100", "113"}
    assert [path.endswith("223.hea") for path, _ in data.skipped] == [True]


def test_mitbih_leaves_paced_records_out(shared_data, tmp_path):
    assert "104" not in {s.ids["recording"] for s in MITBIH().sources(shared_data / "mitdb")}
    assert "104" in {s.ids["recording"] for s in MITBIH(paced=True).sources(shared_data / "mitdb")}
    shutil.copy(shared_data / "mitdb" / "104.hea", tmp_path)
    with pytest.raises(DataError, match="paced=True"):
        MITBIH().load(tmp_path)


def test_mitbih_puts_the_limb_lead_first_and_joins_one_person(tmp_path):
    rng = np.random.default_rng(0)
    for record, names in (
        ("114", ["V5", "MLII"]),
        ("201", ["MLII", "V1"]),
        ("202", ["MLII", "V1"]),
        ("100", ["MLII", "V5"]),
    ):
        signal = rng.normal(size=(3600, 2)) * [1.0 + (names[0] == "MLII"), 1.0 + (names[1] == "MLII")]
        wfdb.wrsamp(
            record, 360, ["mV", "mV"], names, signal, fmt=["212", "212"], write_dir=str(tmp_path), comments=["50 F x"]
        )
        wfdb.wrann(record, "atr", np.array([10, 500, 1500, 3590]), symbol=list("NVAN"), write_dir=str(tmp_path))
    recording = read_beats(str(tmp_path / "114.hea"), before=0.28, after=0.42, sfreq=180.0, beats=2)
    assert [r.labels["beat"] for r in recording] == ["V", "S"]
    assert recording[0].channels.names == ("lead 1", "lead 2")
    study = MITBIH(beats=2)
    data = study.load(tmp_path)
    assert data.metadata.groupby("recording")["patient"].first().to_dict() == {
        "100": "100", "114": "114", "201": "201", "202": "201",
    }  # fmt: skip
    split = study.published_split(data)
    assert set(split.train.metadata["recording"]) == {"114", "201", "202"}
    assert set(split.test.metadata["recording"]) == {"100"}


def test_mitbih_without_marked_beats(tmp_path):
    wfdb.wrsamp("101", 360, ["mV"], ["MLII"], np.zeros((2000, 1)) + 0.1, fmt=["16"], write_dir=str(tmp_path))
    wfdb.wrann("101", "atr", np.array([100]), symbol=["+"], write_dir=str(tmp_path))
    with pytest.raises(DataError, match="marks no beats"):
        MITBIH().load(tmp_path)
    with pytest.raises(ConfigError, match="mitdb: sfreq=20"):
        MITBIH(sfreq=20)


def test_de_chazal_split_has_every_record_once():
    assert len(DS1) == len(DS2) == 22
    assert not set(DS1) & set(DS2)
    assert set(AAMI.values()) == set("NSVFQ")


def test_challenge_on_real_records(shared_data):
    study = Challenge2021(target="sinus_rhythm", databases=["PTB-XL"])
    data = study.load(shared_data / "cinc2021")
    assert data.shape == (80, 12, 250)
    assert data.channels.names == TWELVE_LEADS
    first = data.metadata.iloc[0]
    assert first[["patient", "sinus_rhythm", "normal", "t_wave_abnormal", "sex", "age", "database"]].tolist() == [
        "HR06000", 1, 0, 1, "F", 59.0, "PTB-XL",
    ]  # fmt: skip
    assert first["diagnoses"] == "164934002,426783006"


def test_challenge_lists_the_whole_real_folder(shared_data):
    sources = Challenge2021().sources(shared_data / "cinc2021")
    databases = [s.labels["database"] for s in sources]
    assert {name: databases.count(name) for name in set(databases)} == {"Georgia": 20, "PTB-XL": 10, "Ningbo": 20}
    assert sum(s.labels["normal"] for s in sources) == 11
    assert sum(s.labels["sinus_rhythm"] for s in sources) == 15


def test_challenge_names_and_errors(tmp_path):
    names = ("HR00001", "E00001", "A0001", "Q0001", "I0001", "S0001", "JS10646", "JS10647", "100", "JSx")
    assert [database_of(name) for name in names] == [
        "PTB-XL", "Georgia", "CPSC", "CPSC-Extra", "INCART", "PTB", "Chapman-Shaoxing", "Ningbo", "other", "other",
    ]  # fmt: skip
    assert sum(count for _, count in DATABASES.values()) == 88253
    with pytest.raises(ConfigError, match="no database 'Boston'"):
        Challenge2021(databases=["Boston"])
    (tmp_path / "E00001.hea").write_text("E00001 12 500 5000\n# Age: NaN\n")
    with pytest.raises(DataError, match=r"E00001\.hea has no '# Dx:' line"):
        labels_of(tmp_path / "E00001.hea")
    with pytest.raises(DataError, match="no records of PTB-XL"):
        Challenge2021(databases=["PTB-XL"]).load(tmp_path)
    wanted = Challenge2021(databases=["Georgia"]).wanted_file
    assert wanted("training/georgia/g1/E00001.mat")
    assert not wanted("training/ptb-xl/g1/HR00001.mat")
    assert not wanted("LICENSE.txt")


def test_header_helpers():
    assert comment_value(["Age: 5", "<sex>: M", "Reason for admission: x: y"], "reason for admission") == "x: y"
    assert comment_value(["<sex>: M"], "Sex") == "M"
    assert comment_value([], "Sex") is None
    assert as_number(">89") == 89.0
    assert np.isnan(as_number("unknown"))
    assert np.isnan(as_number(None))
