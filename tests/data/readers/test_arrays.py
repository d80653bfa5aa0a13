import numpy as np
import pandas as pd
import pytest

from tscl.data.readers import from_numpy, pad_stack, read, read_comet_layout, read_npz
from tscl.errors import DataError, DataNotFoundError


def test_from_numpy_with_ids_and_labels():
    X = np.arange(24.0).reshape(4, 2, 3)
    data = from_numpy(X, {"patient": [1, 1, 2, 2], "trial": list("abca")}, y=["x", "y", "x", "y"], sfreq=10.0)
    np.testing.assert_array_equal(data.numpy(), X)
    assert data.levels == ("patient", "trial")
    assert data.metadata["patient"].tolist() == ["1", "1", "2", "2"]
    assert data.codes("trial").tolist() == [0, 1, 2, 3]
    assert data.y.tolist() == [0, 1, 0, 1]
    assert data.channels.names == ("ch0", "ch1")
    assert data.channels.sfreq == 10.0


def test_from_numpy_without_ids_and_with_metadata():
    data = from_numpy(np.zeros((3, 1, 5)), metadata=pd.DataFrame({"site": list("aab")}, index=[7, 8, 9]))
    assert data.levels == ("trial",)
    assert data.metadata["trial"].nunique() == 3
    assert data.metadata["site"].tolist() == ["a", "a", "b"]
    assert data.y is None


def test_unequal_series_are_padded():
    data = from_numpy([np.ones((2, 3)), np.ones((2, 5))])
    assert data.shape == (2, 2, 5)
    np.testing.assert_array_equal(np.isnan(data.numpy()).sum(axis=(1, 2)), [4, 0])
    with pytest.raises(DataError, match="series 1 has 1 channels, series 0 has 2"):
        pad_stack([np.ones((2, 3)), np.ones((1, 3))])
    with pytest.raises(DataError, match="series 0 has shape"):
        pad_stack([np.ones(3)])
    with pytest.raises(DataError, match="empty"):
        pad_stack([])


@pytest.mark.parametrize("shape", [(5,), (5, 6), (2, 3, 4, 5)])
def test_wrong_number_of_axes(shape):
    with pytest.raises(DataError, match=r"expected \(n_windows, n_channels, n_times\)"):
        from_numpy(np.zeros(shape))


@pytest.mark.parametrize(
    ("X", "kwargs", "said"),
    [
        (np.zeros((3, 1, 4)), {"ids": {"patient": [1, 2]}}, "'patient' has shape.*3 windows"),
        (np.zeros((3, 1, 4)), {"ids": {"patient": [[1], [2], [3]]}}, "'patient' has shape"),
        (np.zeros((3, 1, 4)), {"ids": {"patient": [1, None, 3]}}, "'patient' have missing values"),
        (np.zeros((3, 1, 4)), {"y": [1, 2]}, "'label' has shape"),
        (np.zeros((3, 1, 4)), {"metadata": pd.DataFrame({"a": [1]})}, "metadata has 1 rows"),
        (np.zeros((3, 2, 4)), {"ch_names": ["a"]}, "2 channels but 1 channel names"),
        (np.full((3, 2, 4), np.inf), {}, "infinite"),
        (np.zeros((3, 2, 4), complex), {}, "dtype complex128"),
        (np.full((3, 2, 4), "a"), {}, "real numbers"),
    ],
)
def test_bad_input(X, kwargs, said):
    with pytest.raises(DataError, match=said):
        from_numpy(X, **kwargs)


def test_npy_and_npz(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 2, 30)).astype(np.float32)
    np.save(tmp_path / "one.npy", X[0])
    one = read(tmp_path / "one.npy", sfreq=50.0, ch_names=["a", "b"], unit="mV")
    np.testing.assert_array_equal(one.data, X[0])
    assert (one.sfreq, one.channels.names, one.channels.unit) == (50.0, ("a", "b"), "mV")
    np.savez(tmp_path / "all.npz", X=X, y=[0, 1, 0, 1], patient=["p", "p", "q", "q"], sfreq=25, ch_names=["a", "b"])
    trials = read(tmp_path / "all.npz")
    np.testing.assert_array_equal([t.data for t in trials], X)
    assert trials[2].ids == {"patient": "q", "trial": "all/002"}
    assert [t.labels["label"] for t in trials] == [0, 1, 0, 1]
    assert (trials[0].sfreq, trials[0].channels.names) == (25.0, ("a", "b"))


def test_npz_errors(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, one=np.zeros((2, 3)), two=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"a\.npz.*\['one', 'two'\].*key="):
        read(path)
    assert read_npz(path, key="two").data.shape == (2, 3)
    with pytest.raises(DataError, match="key="):
        read_npz(path, key="three")
    for shape in [(5,), (2, 3, 4, 5)]:
        np.savez(path, X=np.zeros(shape))
        with pytest.raises(DataError, match=r"a\.npz: X has shape"):
            read(path)
    np.savez(path, X=np.zeros((2, 1, 5)), patient=["a"])
    with pytest.raises(DataError, match="patient has shape"):
        read(path)
    np.savez(path, X=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        read(path)
    np.savez(path, X=np.full((2, 5), -np.inf))
    with pytest.raises(DataError, match="infinite"):
        read(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        read(path)
    with pytest.raises(DataNotFoundError):
        read_npz(tmp_path / "no.npz")
    (tmp_path / "x.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match="reader of its own"):
        read(tmp_path / "x.mat")


@pytest.fixture
def comet(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "Feature").mkdir()
    (tmp_path / "Label").mkdir()
    features = {person: rng.normal(size=(2 + person, 20, 3)) for person in (1, 2, 10)}
    for person, feature in features.items():
        np.save(tmp_path / "Feature" / f"feature_{person:02d}.npy", feature)
    np.save(tmp_path / "Label" / "label.npy", np.array([[1, 1], [0, 2], [1, 10]]))
    return tmp_path, features


def test_comet_layout(comet):
    folder, features = comet
    trials = read(folder, sfreq=256.0)
    assert len(trials) == 3 + 4 + 12
    np.testing.assert_allclose(trials[3].data, features[2][0].T, rtol=1e-6)
    assert trials[3].ids == {"patient": "2", "trial": "2/000"}
    assert trials[3].labels == {"label": 0}
    assert trials[-1].ids == {"patient": "10", "trial": "10/011"}
    assert trials[0].source.endswith("feature_01.npy")


def test_comet_layout_errors(comet):
    folder, _ = comet
    np.save(folder / "Label" / "label.npy", np.array([[1, 1], [0, 2]]))
    with pytest.raises(DataError, match="no row for id 10"):
        read_comet_layout(folder, sfreq=256.0)
    np.save(folder / "Label" / "label.npy", np.array([1, 0, 1]))
    with pytest.raises(DataError, match=r"label\.npy has shape \(3,\)"):
        read_comet_layout(folder, sfreq=256.0)
    np.save(folder / "Label" / "label.npy", np.array([[1, 1], [0, 2], [1, 10]]))
    np.save(folder / "Feature" / "feature_02.npy", np.zeros((5, 6)))
    with pytest.raises(DataError, match=r"feature_02\.npy has shape \(5, 6\)"):
        read_comet_layout(folder, sfreq=256.0)
    for path in (folder / "Feature").iterdir():
        path.unlink()
    with pytest.raises(DataNotFoundError, match="feature_ID"):
        read_comet_layout(folder, sfreq=256.0)
    with pytest.raises(DataNotFoundError, match="label"):
        read_comet_layout(folder / "Feature", sfreq=256.0)


def test_real_npz(shared_data):
    path = sorted((shared_data / "uea_eeg").glob("*.npz"))[0]
    trials = read(path, key="X_train")
    with np.load(path) as arrays:
        np.testing.assert_array_equal(trials[5].data, arrays["X_train"][5].astype(np.float32))
        assert trials[5].labels["label"] == arrays["y_train"][5]
