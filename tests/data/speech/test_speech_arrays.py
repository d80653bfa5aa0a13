"""Arrays of brain signals, speech, subjects and positions, checked against each other."""

import numpy as np
import pytest

from tscl.data.recording import Channels
from tscl.data.speech.arrays import paired_windows, same_rows
from tscl.data.speech.positions import flat_positions
from tscl.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3, 8)).astype(np.float32)
Y = RNG.normal(size=(5, 2, 8))[[0, 1, 0, 2, 1]].astype(np.float32)
FLAT = RNG.uniform(size=(3, 2))
WHO = ["b", "a", "a", "b", "c"]


def test_everything_goes_into_the_batch():
    windows = paired_windows(X, Y, WHO, FLAT)
    assert windows.subjects == ["a", "b", "c"]
    batch = windows[[4, 0, 2]]
    np.testing.assert_array_equal(batch.x, X[[4, 0, 2]])
    np.testing.assert_array_equal(batch.paired["speech"], Y[[4, 0, 2]])
    assert batch.sensors.subject.tolist() == [2, 1, 0]
    assert batch.levels["segment"].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(batch.sensors.positions, np.stack([FLAT.astype(np.float32)] * 3))
    assert windows[:].levels["segment"].tolist() == [0, 1, 0, 2, 1]


def test_a_selection_is_the_same_windows():
    places = RNG.uniform(size=(5, 3, 2)).astype(np.float32)
    part = paired_windows(X, Y, WHO, places).select(np.array([3, 1])).select([1])
    batch = part[:]
    np.testing.assert_array_equal(batch.x, X[[1]])
    np.testing.assert_array_equal(batch.paired["speech"], Y[[1]])
    np.testing.assert_array_equal(batch.sensors.positions, places[[1]])
    assert (batch.sensors.subject.tolist(), batch.levels["segment"].tolist()) == ([0], [1])
    assert batch.levels["patient"].tolist() == [0]


def test_subjects_may_be_given_or_left_out():
    assert paired_windows(X, Y, WHO, FLAT, subjects=["c", "b"])[:].sensors.subject.tolist() == [1, -1, -1, 1, 0]
    assert paired_windows(X, None, None, FLAT)[:].sensors.subject.tolist() == [0] * 5
    assert paired_windows(X, None, None, FLAT, subjects=["c"])[:].sensors.subject.tolist() == [-1] * 5
    assert paired_windows(X, None, [1, 2, 1, 2, 10], FLAT).subjects == ["1", "10", "2"]
    only = paired_windows(X, None, WHO, FLAT)[:]
    assert only.paired == {}
    assert only.levels["segment"].tolist() == list(range(5))


def test_positions_in_metres_are_projected_and_mappings_go_by_subject():
    metres = RNG.normal(0, 0.05, (3, 3))
    flat = flat_positions(Channels(("a", "b", "c"), ("eeg",) * 3, "uV", 1.0, metres))
    np.testing.assert_allclose(paired_windows(X, None, None, metres)[:].sensors.positions[1], flat, atol=1e-6)
    gaps = metres.copy()
    gaps[1, 2] = np.nan
    placed = paired_windows(X, None, None, gaps)[:].sensors.positions[0].numpy()
    assert np.isnan(placed).all(axis=1).tolist() == [False, True, False]
    by_subject = {"a": FLAT, "b": FLAT[:2] / 2, "c": metres, "d": FLAT}
    places = paired_windows(X, None, WHO, by_subject)[:].sensors.positions.numpy()
    np.testing.assert_array_equal(places[0, :2], (FLAT[:2] / 2).astype(np.float32))
    assert np.isnan(places[0, 2]).all()
    np.testing.assert_array_equal(places[2], FLAT.astype(np.float32))
    np.testing.assert_allclose(places[4], flat, atol=1e-6)


def test_equal_rows_have_one_number():
    assert same_rows(Y).tolist() == [0, 1, 0, 2, 1]
    assert same_rows(np.array([[1.0], [np.nextafter(1, 2)], [1.0]])).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"subject": WHO[:4]}, r"subject has shape \(4,\) for 5 windows"),
        ({"subject": [WHO]}, r"subject has shape \(1, 5\) for 5 windows"),
        ({"speech": Y[:4]}, r"speech has shape \(4, 2, 8\) for 5 windows"),
        ({"speech": Y[:, 0]}, r"speech has shape \(5, 8\) for 5 windows"),
        ({"speech": np.where(Y > 1, np.nan, Y)}, "speech holds infinite or missing values"),
        ({"speech": np.where(Y > 1, np.inf, Y)}, "speech holds infinite or missing values"),
        ({"positions": None}, "sensor positions are missing: pass positions"),
        ({"positions": FLAT[:2]}, r"positions have shape \(2, 2\) for windows of 3 sensors: expected \(3, 2\)"),
        ({"positions": np.zeros((4, 3, 2))}, r"positions have shape \(4, 3, 2\) for windows of 3 sensors"),
        ({"positions": np.zeros((5, 3, 3))}, r"positions have shape \(5, 3, 3\) .* or \(5, 3, 2\)\."),
        ({"positions": np.zeros((3, 4))}, r"positions have shape \(3, 4\): expected \(sensors, 2\) or"),
        ({"positions": np.full((3, 2), np.nan)}, "not one sensor position is known"),
        ({"positions": {"a": FLAT, "c": FLAT}}, r"no sensor positions for the subjects \['b'\]"),
        ({"positions": {"a": FLAT, "b": np.zeros((4, 2)), "c": FLAT}}, "subject b has 4 positions .* 3 sensors"),
        ({"positions": {"a": FLAT, "b": FLAT, "c": FLAT[0]}}, r"positions have shape \(2,\): expected"),
    ],
)
def test_what_does_not_fit_is_refused(changed, said):
    with pytest.raises(DataError, match=said):
        paired_windows(X, **{"speech": Y, "subject": WHO, "positions": FLAT, **changed})
