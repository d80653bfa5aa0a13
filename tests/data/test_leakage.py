from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Channels, Split, WindowDataset, check_leakage, check_seen
from tscl.errors import DataError, LeakageError


def make(table: dict, levels=("patient", "trial"), times: int = 4, sfreq: float = 4.0) -> WindowDataset:
    frame = pd.DataFrame(table)
    return WindowDataset(
        np.zeros((len(frame), 1, times), "float32"), frame, Channels(("I",), ("ecg",), "mV", sfreq), levels
    )


def test_disjoint_sides_pass_and_shared_patients_are_named():
    data = make({"patient": list("aabbcc"), "trial": range(6)})
    check_leakage(data.select([0, 1]), data.select([2, 3]))
    with pytest.raises(LeakageError, match=r"2 patient ids stand on both sides: a, b\. Split the data by patient"):
        check_leakage(data.select([0, 2, 4]), data.select([1, 3]))


def test_first_ten_ids_are_named_and_the_rest_counted():
    data = make({"patient": [f"p{i:02d}" for i in range(13)], "trial": range(13)})
    with pytest.raises(LeakageError, match=r"13 patient ids .*: p00, .*p09 and 3 more"):
        check_leakage(data, data)


def test_a_site_may_be_shared_but_is_checked_when_asked_for():
    data = make({"site": ["x", "x"], "patient": ["a", "b"], "trial": [0, 1]}, levels=("site", "patient", "trial"))
    check_leakage(data.select([0]), data.select([1]))
    with pytest.raises(LeakageError, match="1 site ids stand on both sides: x"):
        check_leakage(data.select([0]), data.select([1]), levels=["site"])


def test_without_patients_all_levels_count():
    data = make({"machine": ["x", "x"], "run": [0, 1]}, levels=("machine", "run"))
    with pytest.raises(LeakageError, match=r"1 machine ids .* Split the data by machine"):
        check_leakage(data.select([0]), data.select([1]))


def test_trials_of_the_same_number_in_other_patients_are_no_leak():
    data = make({"patient": ["a", "b", "a"], "trial": [0, 0, 0]})
    check_leakage(data.select([0]), data.select([1]), levels=["trial"])
    with pytest.raises(LeakageError, match="1 trial ids stand on both sides: a/0"):
        check_leakage(data.select([0, 1]), data.select([2]), levels=["trial"])


def test_same_patient_with_renamed_trials_leaks():
    data = make({"patient": ["a", "a"], "trial": [0, 1]})
    check_leakage(data.select([0]), data.select([1]), levels=["trial"])
    with pytest.raises(LeakageError):
        check_leakage(data.select([0]), data.select([1]))


def test_unknown_level_is_named():
    data = make({"patient": ["a"], "trial": [0]})
    with pytest.raises(DataError, match="'session' is no level"):
        check_leakage(data, data, levels=["session"])


def test_empty_sides_cannot_leak():
    data = make({"patient": ["a"], "trial": [0]})
    check_leakage(data, data.select(np.arange(0)))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from("fg"), st.integers(0, 20)), min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from("fg"), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_overlap_in_time_equals_the_obvious_check(first, second, long, short):
    def side(windows, patient, times):
        source, onset = zip(*windows, strict=True)
        table = {"patient": patient, "trial": range(len(windows)), "source": source, "onset": np.array(onset) / 2.0}
        return make(table, times=times, sfreq=2.0)

    one, other = side(first, "a", long), side(second, "b", short)
    overlaps = any(f == g and s < t + short and t < s + long for f, s in first for g, t in second)
    if overlaps:
        with pytest.raises(LeakageError, match="overlap in time"):
            check_leakage(one, other)
    else:
        check_leakage(one, other)


def test_windows_without_a_file_cannot_overlap():
    data = make({"patient": ["a", "b"], "trial": [0, 1], "source": ["", ""], "onset": [0.0, 0.0]})
    check_leakage(data.select([0]), data.select([1]))


def test_one_file_under_two_patient_names_leaks():
    data = make({"patient": ["a", "b"], "trial": [0, 1], "source": ["x.edf", "x.edf"], "onset": [0.0, 0.5]})
    with pytest.raises(LeakageError, match="windows of 1 files overlap in time across the sides: x.edf"):
        check_leakage(data.select([0]), data.select([1]))


def test_seen_patients_are_refused():
    data = make({"patient": list("abcd"), "trial": range(4)})
    manifest = Split(data.select([0]), data.select([1]), data.select([2])).manifest
    check_seen(manifest, data.select([2, 3]))
    with pytest.raises(LeakageError, match=r"pretraining saw 2 of these 4 patient ids: a, b\."):
        check_seen(manifest, data)


def test_patients_seen_by_a_split_of_trials_are_refused():
    data = make({"patient": list("aabb"), "trial": range(4)})
    manifest = Split(data.select([0]), None, data.select([1]), by="trial").manifest
    check_seen(manifest, data.select([2, 3]))
    with pytest.raises(LeakageError, match="1 of these 1 patient ids: a"):
        check_seen(manifest, data.select([1]))


def test_a_million_windows_are_checked_in_seconds():
    n = 1_000_000
    table = pd.DataFrame(
        {"patient": np.arange(n) // 1000, "source": np.arange(n) // 1000, "onset": np.arange(n) % 1000.0}
    )
    signals = np.lib.stride_tricks.as_strided(np.zeros(1, "float32"), (n, 1, 1), (0, 0, 0))
    data = WindowDataset(signals, table, Channels(("I",), ("ecg",), "mV", 1.0), ("patient",))
    check_leakage(data.select(np.arange(n // 2)), data.select(np.arange(n // 2, n)))
