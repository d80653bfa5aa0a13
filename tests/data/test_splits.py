from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Channels, Split, WindowDataset, holdout, kfold, label_fraction
from tscl.errors import ConfigError, DataError, LeakageError, TsclError


def make(patients, labels=None, trials=None, levels=("patient", "trial"), **columns) -> WindowDataset:
    n = len(patients)
    table = pd.DataFrame({"patient": patients, "trial": range(n) if trials is None else trials, **columns})
    if labels is not None:
        table["sick"] = labels
    x = np.arange(n, dtype="float32")[:, None, None]
    target = None if labels is None else "sick"
    return WindowDataset(x, table, Channels(("I",), ("ecg",), "mV", 1.0), levels, target)


def cohort(n: int = 20, windows: int = 3, sick: float = 0.5) -> WindowDataset:
    labels = (np.arange(n) < sick * n).astype(int)
    return make(np.repeat([f"p{i:02d}" for i in range(n)], windows), np.repeat(labels, windows))


def patients(data: WindowDataset | None) -> set[str]:
    return set() if data is None else set(data.metadata["patient"])


def check_partition(split: Split, data: WindowDataset) -> None:
    sides = [patients(side) for side in (split.train, split.val, split.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == data.metadata["patient"].nunique()
    rows = np.concatenate([side.rows for side in split.sides.values()])
    assert sorted(rows) == list(range(len(data)))


def test_holdout_shares_and_stratifies_exactly():
    data = cohort(20)
    split = holdout(data, val=0.2, test=0.3)
    check_partition(split, data)
    assert [len(patients(side)) for side in (split.train, split.val, split.test)] == [10, 4, 6]
    for side in split.sides.values():
        assert np.bincount(side.y).tolist() == [len(side) / 2] * 2


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, None])), min_size=1, max_size=30), st.integers(0, 9)
)
def test_holdout_parts_patients_or_says_why_not(rows, seed):
    who, labels = zip(*rows, strict=True)
    data = make([f"p{i}" for i in who], list(labels))
    having = data.metadata.dropna().groupby("sick")["patient"].nunique()
    if len(set(who)) < 3 or (len(having) > 1 and (having == 1).any()):
        with pytest.raises(DataError, match="cannot"):
            holdout(data, seed=seed)
        return
    split = holdout(data, seed=seed)
    check_partition(split, data)
    assert split.val is not None
    assert len(split.test) > 0


def test_same_seed_same_split_other_seed_other_split():
    data = cohort(20)
    assert holdout(data, seed=1).manifest == holdout(data, seed=1).manifest
    drawn = {json.dumps(holdout(data, seed=seed).manifest["test"]["ids"]) for seed in range(5)}
    assert len(drawn) > 1


def test_label_that_varies_within_patients_is_balanced():
    data = make(np.repeat([f"p{i}" for i in range(8)], 4), np.tile([0, 0, 1, 1], 8))
    for split in [holdout(data), *kfold(data, n_splits=4)]:
        for side in split.sides.values():
            assert side.y.mean() == 0.5


def test_missing_labels_are_shared_out():
    labels = np.repeat([0.0, 1.0, np.nan, np.nan], 5)
    data = make([f"p{i:02d}" for i in range(20)], labels)
    split = holdout(data, val=0.2, test=0.4)
    assert np.isnan(split.test.metadata["sick"]).sum() == 4
    check_partition(split, data)
    for fold in kfold(data, n_splits=5):
        check_partition(fold, data)


def test_rare_class_reaches_train_and_test():
    data = make([f"p{i:02d}" for i in range(30)], [1] * 2 + [0] * 28)
    for seed in range(5):
        split = holdout(data, seed=seed)
        assert split.train.y.sum() == split.test.y.sum() == 1


def test_without_target_or_stratification():
    assert len(holdout(make(list("abcdefgh")), stratify=True).test) == 2
    lone = make(list("abcdefgh"), [1] + [0] * 7)
    assert len(holdout(lone, stratify=False).test) == 2
    assert sum(len(fold.test) for fold in kfold(lone, n_splits=4, stratify=False)) == 8


def test_no_validation_no_test():
    data = cohort(8)
    assert holdout(data, val=0).val is None
    split = holdout(data, val=0, test=0)
    assert len(split.train) == len(data)
    assert len(split.test) == 0
    assert split.manifest["test"] == {"ids": [], "windows": 0, "classes": {}}


def test_a_side_never_takes_everybody():
    split = holdout(cohort(3, sick=0), val=0.3, test=0.6)
    assert [len(patients(side)) for side in (split.train, split.val, split.test)] == [1, 1, 1]


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.2), (0, 1)])
def test_shares_that_leave_nothing(val, test):
    with pytest.raises(ConfigError, match="sum to less than 1"):
        holdout(cohort(), val=val, test=test)


def test_one_patient_few_patients_lone_class():
    with pytest.raises(DataError, match=r"1 patient ids cannot fill 3 sides \(a\)"):
        holdout(make(["a", "a"], [0, 1]))
    with pytest.raises(DataError, match="4 patient ids cannot fill 5 sides"):
        next(kfold(cohort(4)))
    with pytest.raises(DataError, match="class 1 is found in the patient a alone"):
        holdout(make(list("abcdef"), [1, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="class 1 is found in the patient a alone"):
        next(kfold(make(list("abcdef"), [1, 0, 0, 0, 0, 0])))
    with pytest.raises(DataError, match="no windows"):
        holdout(cohort().select(np.arange(0)))
    with pytest.raises(DataError, match="'session' is no level of the data"):
        holdout(cohort(), by="session")


def test_kfold_tests_everyone_once():
    data = cohort(10)
    folds = list(kfold(data, n_splits=5, val=0.2, seed=3))
    for split in folds:
        check_partition(split, data)
        assert len(patients(split.val)) == 2
        assert split.test.y.mean() == split.val.y.mean() == 0.5
    assert sorted(p for split in folds for p in patients(split.test)) == sorted(patients(data))
    assert [s.manifest for s in kfold(data, n_splits=5, val=0.2, seed=3)] == [s.manifest for s in folds]
    assert all(split.val is None for split in kfold(data, val=0))


def test_kfold_settings_that_cannot_work():
    with pytest.raises(ConfigError, match="n_splits=1"):
        next(kfold(cohort(), n_splits=1))
    with pytest.raises(ConfigError, match=r"val=0.6"):
        next(kfold(cohort(), n_splits=2, val=0.6))
    with pytest.raises(DataError, match="folds cannot be made"):
        next(kfold(make(list("aabbc") + ["d"], ["x", "y", "x", "y", "z", "z"]), n_splits=4))


def test_other_levels_are_kept_together():
    data = make(list("aabb") * 3, trials=np.repeat(range(6), 2))
    split = holdout(data, by="trial")
    groups = [set(zip(side.metadata["patient"], side.metadata["trial"], strict=True)) for side in split.sides.values()]
    assert not groups[0] & groups[1]
    assert split.manifest["train"]["patients"] == sorted(patients(split.train))


def test_overlapping_windows_forbid_a_split_by_trial():
    data = make(["a"] * 6, source="f.edf", onset=np.arange(6) / 4)
    with pytest.raises(LeakageError, match="overlap in time"):
        holdout(data, by="trial")


def test_manifest_survives_json_and_rebuilds_the_split():
    data = cohort(12)
    split = holdout(data, seed=4)
    manifest = json.loads(json.dumps(split.manifest))
    assert manifest["by"] == "patient"
    assert manifest["seed"] == 4
    assert manifest["levels"] == ["patient", "trial"]
    assert manifest["train"]["windows"] == len(split.train)
    assert manifest["train"]["classes"] == {"0": int((split.train.y == 0).sum()), "1": int((split.train.y == 1).sum())}
    again = Split.from_manifest(data, manifest)
    assert json.loads(json.dumps(again.manifest)) == manifest
    for side in ("train", "val", "test"):
        assert getattr(again, side).rows.tolist() == getattr(split, side).rows.tolist()


def test_manifest_of_other_data(caplog):
    data = cohort(12)
    manifest = holdout(data.select("patient != 'p00'")).manifest
    assert "p00" not in patients(Split.from_manifest(data, manifest).train)
    assert "1 patient ids stand on no side of the manifest: p00" in caplog.text
    with pytest.raises(DataError, match="1 patient ids are not in the data: p11"):
        Split.from_manifest(data.select("patient != 'p11'"), manifest)


def test_published_ids():
    data = make([1, 1, 2, 3, 4], [0, 1, 0, 1, 0])
    split = Split.from_ids(data, "patient", val_ids=[3], test_ids=["4"])
    assert [side.metadata["patient"].tolist() for side in split.sides.values()] == [[1, 1, 2], [3], [4]]
    assert split.seed is None
    assert Split.from_ids(data, "patient", [], [4]).val is None
    with pytest.raises(DataError, match="1 patient ids are not in the data: 9"):
        Split.from_ids(data, "patient", [9], [4])
    with pytest.raises(LeakageError, match="1 patient ids stand on both sides: 4"):
        Split.from_ids(data, "patient", [3, 4], [4])
    with pytest.raises(DataError, match="no window is left to train on"):
        Split.from_ids(data, "patient", [1, 2], [3, 4])


def test_check_refuses_a_split_made_by_hand():
    data = cohort(4)
    with pytest.raises(LeakageError):
        Split(data, None, data).check()
    with pytest.raises(DataError, match="'site' is no level"):
        Split(data, None, data, by="site").check()


@pytest.mark.parametrize("by", ["patient", "window"])
def test_label_fraction_is_stratified_and_nested(by):
    data = cohort(40, windows=5, sick=0.25)
    parts = [label_fraction(data, fraction, by=by, seed=2) for fraction in (0.01, 0.1, 0.5, 1.0)]
    sizes = {"patient": [10, 20, 100, 200], "window": [2, 20, 100, 200]}[by]
    if by == "patient":
        assert [len(part) for part in parts] == sizes
        assert all(len(part) == 5 * len(patients(part)) for part in parts)
    else:
        assert [abs(len(part) - size) <= 1 for part, size in zip(parts, sizes, strict=True)] == [True] * 4
    for small, large in zip(parts, parts[1:], strict=False):
        assert set(small.rows) <= set(large.rows)
        assert set(small.y) == {0, 1}
    assert abs(parts[2].y.mean() - 0.25) < 0.03


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 1, 2, None])), min_size=1, max_size=30),
    st.floats(0.01, 1),
    st.sampled_from(["patient", "window"]),
    st.integers(0, 5),
)
def test_label_fraction_has_every_class_and_whole_patients(rows, fraction, by, seed):
    who, labels = zip(*rows, strict=True)
    data = make([f"p{i}" for i in who], list(labels))
    if all(label is None for label in labels):
        with pytest.raises(TsclError):
            label_fraction(data, fraction)
        return
    part = label_fraction(data, fraction, by=by, seed=seed)
    assert set(part.y) == set(data.y) - {-1}
    if by == "patient":
        labelled = data.select(data.y >= 0)
        assert len(part) == labelled.metadata["patient"].isin(patients(part)).sum()


def test_label_fraction_settings_that_cannot_work():
    for fraction in (0, 1.5):
        with pytest.raises(ConfigError, match="label fraction"):
            label_fraction(cohort(), fraction)
    with pytest.raises(DataError, match="no target"):
        label_fraction(make(["a"]), 0.5)
    with pytest.raises(DataError, match="no window has a label in the column 'sick'"):
        label_fraction(make(["a", "b"], [np.nan, np.nan]), 0.5)


def test_window_dataset_splits_itself():
    data = cohort(8)
    assert data.split(test=0.25, seed=3).manifest == holdout(data, test=0.25, seed=3).manifest
