import numpy as np
import pandas as pd
import pytest

from tscl.data.readers import from_sktime
from tscl.errors import DataError

sktime = pytest.importorskip("sktime")


@pytest.mark.parametrize("kind", ["numpy3D", "nested_univ", "pd-multiindex", "df-list"])
def test_panels_agree(kind):
    from sktime.datatypes import convert_to

    X = np.random.default_rng(0).normal(size=(5, 2, 7))
    panel = convert_to(X, kind)
    data = from_sktime(panel, y=list("ababa"), sfreq=20.0)
    np.testing.assert_allclose(data.numpy(), X, rtol=1e-6)
    assert data.y.tolist() == [0, 1, 0, 1, 0]
    assert data.codes(data.levels[-1]).tolist() == [0, 1, 2, 3, 4]
    assert data.channels.sfreq == 20.0


def test_hierarchical_levels_become_ours():
    from sktime.utils._testing.hierarchical import _make_hierarchical

    frame = _make_hierarchical(
        (2, 3), n_columns=2, min_timepoints=4, max_timepoints=9, same_cutoff=False, random_state=0
    )
    data = from_sktime(frame)
    assert data.levels == ("h0", "h1")
    assert data.shape[:2] == (6, 2)
    assert data.codes("h0").tolist() == [0, 0, 0, 1, 1, 1]
    assert data.codes("h1").tolist() == [0, 1, 2, 3, 4, 5]
    for window, (_, series) in zip(data.numpy(), frame.groupby(level=[0, 1], sort=False), strict=True):
        np.testing.assert_allclose(window[:, : len(series)], series.to_numpy().T, rtol=1e-6)
        assert np.isnan(window[:, len(series) :]).all()


def test_repeated_ids_are_joined_with_their_parents():
    index = pd.MultiIndex.from_product(
        [["a", "b"], [0, 1], [0, 1], range(3)], names=["patient", "trial", "window", None]
    )
    data = from_sktime(pd.DataFrame({"x": np.arange(24.0)}, index=index))
    assert data.levels == ("patient", "trial", "window")
    assert data.metadata["trial"].tolist() == ["a/0", "a/0", "a/1", "a/1", "b/0", "b/0", "b/1", "b/1"]
    assert data.metadata["window"].iloc[-1] == "b/1/1"
    assert data.channels.names == ("x",)


def test_unnamed_panel_index_is_a_trial():
    index = pd.MultiIndex.from_product([[3, 1], range(4)])
    data = from_sktime(pd.DataFrame({"x": np.arange(8.0)}, index=index))
    assert data.levels == ("trial",)
    assert data.metadata["trial"].tolist() == ["3", "1"]


def test_errors():
    with pytest.raises(DataError, match="single table"):
        from_sktime(pd.DataFrame({"x": [1.0, 2.0]}))
    with pytest.raises(DataError, match="is a str"):
        from_sktime("panel")
    with pytest.raises(DataError, match="shape"):
        from_sktime(np.zeros((3, 4)))
    with pytest.raises(DataError, match="'label' has shape"):
        from_sktime(np.zeros((3, 1, 4)), y=[1, 2])
    with pytest.raises(DataError, match="different variables"):
        from_sktime([pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})])
    nested = pd.DataFrame({"a": [pd.Series([1.0, 2.0])], "b": [pd.Series([1.0])]})
    with pytest.raises(DataError, match="instance 0"):
        from_sktime(nested)
    with pytest.raises(DataError, match="empty"):
        from_sktime([])
