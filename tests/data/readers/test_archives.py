import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data.readers import read_labelled_series
from tscl.data.readers.archives import as_label
from tscl.errors import DataError, DataNotFoundError

TS = "@problemName Two\n@timeStamps false\n@missing true\n@univariate {}\n@equalLength false\n@classLabel {}\n@data\n{}"
ARFF = "@relation Two\n@attribute t0 numeric\n@attribute t1 numeric\n@attribute target {1,2}\n@data\n1.5,2,1\n3,?,2\n"
RELATIONAL = (
    "@relation Two\n@attribute series relational\n@attribute t0 numeric\n@attribute t1 numeric\n@end series\n"
    "@attribute target {left,right}\n@data\n'1.5,2\\n4,?',left\n'3,1\\n5,6',right\n"
)


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def assert_series(found, expected):
    assert [one.dtype for one in found] == [np.float32] * len(expected)
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, np.array(wanted, np.float32))


def test_univariate_files_of_every_format_agree(tmp_path):
    expected = [[[1.5, 2.0]], [[3.0, np.nan]]]
    np.savez(
        tmp_path / "Two.npz",
        X_train=np.array(expected)[:, 0],
        y_train=[1.0, 2.0],
        X_test=np.array(expected) + 1,
        y_test=np.array([2, 1]),
    )
    paths = [
        write(tmp_path, "Two.arff", ARFF),
        write(tmp_path, "Two.ts", TS.format("true", "true 1 2", "1.5,2:1\n3,?:2\n")),
    ]
    for path in paths:
        series, labels = read_labelled_series(path)
        assert_series(series, expected)
        assert labels == ["1", "2"]
    series, labels = read_labelled_series(tmp_path / "Two.npz", "train")
    assert_series(series, expected)
    assert labels == ["1", "2"]
    series, labels = read_labelled_series(tmp_path / "Two.npz", "test")
    assert_series(series, np.array(expected) + 1)
    assert labels == ["2", "1"]


def test_tab_separated_series_end_where_their_padding_begins(tmp_path):
    path = write(tmp_path, "Two_TRAIN.TSV", "-1.0\t1.5\tNaN\t2\n1.0000000e+00\t3\tNaN\tNaN\n")
    series, labels = read_labelled_series(path)
    assert_series(series, [[[1.5, np.nan, 2.0]], [[3.0]]])
    assert labels == ["-1", "1"]


def test_multivariate_files(tmp_path):
    series, labels = read_labelled_series(write(tmp_path, "Two.arff", RELATIONAL))
    assert_series(series, [[[1.5, 2], [4, np.nan]], [[3, 1], [5, 6]]])
    assert labels == ["left", "right"]
    series, labels = read_labelled_series(
        write(tmp_path, "Two.ts", TS.format("false", "true left right", "1.5,2:4,5:left\n3:5,6:right\n"))
    )
    assert_series(series, [[[1.5, 2], [4, 5]], [[3, np.nan], [5, 6]]])
    assert labels == ["left", "right"]


def test_an_npz_of_one_part(tmp_path):
    X = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)
    np.savez(tmp_path / "one.npz", X=X, y=np.array(["a", "b", "a"]))
    series, labels = read_labelled_series(tmp_path / "one.npz")
    assert_series(series, X)
    assert labels == ["a", "b", "a"]


def test_real_npz_and_ts_of_a_set_agree(shared_data):
    datasets = pytest.importorskip("sktime.datasets")
    from pathlib import Path

    folder = Path(datasets.__file__).parent / "data" / "GunPoint"
    for part in ("train", "test"):
        ours, our_labels = read_labelled_series(shared_data / "ucr" / "GunPoint.npz", part)
        theirs, their_labels = read_labelled_series(folder / f"GunPoint_{part.upper()}.ts")
        np.testing.assert_allclose(np.stack(ours), np.stack(theirs), rtol=1e-6)
        assert our_labels == their_labels


@given(st.integers(-999, 999))
@settings(max_examples=20, deadline=None)
def test_numbers_are_named_alike_however_they_are_written(number):
    assert {as_label(number), as_label(float(number)), as_label(f" {number} "), as_label(f"{number:.7e}")} == {
        str(number)
    }


@pytest.mark.parametrize("text", ["standing", "1.5", "nan", "inf", ""])
def test_other_labels_stay_as_they_are(text):
    assert as_label(text) == text


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.ts", "garbage", r"a\.ts cannot be read as \.ts"),
        ("a.ts", TS.format("true", "false", "1,2,3\n"), "no class labels"),
        ("a.tsv", "1\t2\tx\n", r"a\.tsv cannot be read as \.tsv"),
        ("a.tsv", "", r"a\.tsv cannot be read as \.tsv"),
        ("a.tsv", "1\t2\tinf\n", "infinite values"),
        ("a.arff", "@relation x\n@data\n1,b,c\n", r"a\.arff cannot be read as \.arff"),
        ("a.arff", "@relation x\n@data\n", "holds no series"),
        ("a.csv", "1,2\n", r"\.csv is not read here"),
        ("a.npz", "garbage", "cannot be read as a NumPy file"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, name, text, said):
    with pytest.raises(DataError, match=said):
        read_labelled_series(write(tmp_path, name, text))


def test_arrays_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X_train=np.zeros((3, 4)), y_train=np.zeros(2))
    with pytest.raises(DataError, match=r"X_train has shape \(3, 4\) and y_train \(2,\)"):
        read_labelled_series(path, "train")
    with pytest.raises(DataError, match="no array 'X_test'"):
        read_labelled_series(path, "test")
    with pytest.raises(DataError, match="no array 'X'"):
        read_labelled_series(path)
    np.savez(path, X=np.zeros((0, 1, 4)), y=np.zeros(0))
    with pytest.raises(DataError, match="holds no series"):
        read_labelled_series(path)
    np.savez(path, X=np.array([["a"]]), y=np.zeros(1))
    with pytest.raises(DataError, match="expected real numbers"):
        read_labelled_series(path)
    with pytest.raises(DataNotFoundError, match="does not exist"):
        read_labelled_series(tmp_path / "nowhere.ts")


def test_series_with_different_channels_are_refused(tmp_path):
    path = write(tmp_path, "a.arff", RELATIONAL.replace("3,1\\n5,6", "3,1"))
    with pytest.raises(DataError, match=r"a\.arff"):
        read_labelled_series(path)
