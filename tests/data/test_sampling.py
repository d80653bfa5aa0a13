from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Channels, HierarchicalBatchSampler, WindowDataset
from tscl.errors import ConfigError, DataError


def cohort(sizes: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Trial and patient codes for the trial sizes of every patient, in a scrambled order."""
    trials, patients, trial = [], [], 0
    for patient, its in enumerate(sizes):
        for size in its:
            trials += [trial] * size
            patients += [patient] * size
            trial += 1
    order = np.random.default_rng(1).permutation(len(trials))
    return np.array(trials)[order], np.array(patients)[order]


SIZES = st.lists(st.lists(st.integers(1, 13), min_size=1, max_size=4), min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(SIZES, st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_every_window_once_and_even_shares(sizes, batch_size, k, t, replicas, epoch):
    trials, patients = cohort(sizes)
    if len(trials) < replicas:
        return
    options = {"windows_per_trial": k, "trials_per_patient": t, "num_replicas": replicas}
    shares = []
    for rank in range(replicas):
        sampler = HierarchicalBatchSampler(trials, patients, batch_size, rank=rank, **options)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler)
    assert len({len(share) for share in shares}) == 1
    batches = [batch for share in shares for batch in share]
    most = 2 if batch_size == 1 and replicas > 1 else batch_size
    assert all(0 < len(batch) <= most for batch in batches)
    assert sorted(window for batch in batches for window in batch) == list(range(len(trials)))


@settings(deadline=None, max_examples=100)
@given(SIZES, st.integers(2, 4), st.integers(0, 5))
def test_no_window_is_alone_where_its_trial_has_more(sizes, k, seed):
    trials, patients = cohort(sizes)
    sampler = HierarchicalBatchSampler(trials, patients, 4 * k, windows_per_trial=k, seed=seed)
    total = Counter(trials.tolist())
    for batch in sampler:
        for trial, count in Counter(trials[batch].tolist()).items():
            assert count >= min(total[trial], 2) or (k == 2 and total[trial] % 2 == 1)


@settings(deadline=None, max_examples=100)
@given(SIZES, st.integers(0, 5))
def test_large_batches_keep_groups_of_trials_of_a_patient_together(sizes, seed):
    trials, patients = cohort(sizes)
    sampler = HierarchicalBatchSampler(trials, patients, 32, windows_per_trial=4, trials_per_patient=2, seed=seed)
    n_chunks = {p: sum(-(-size // 4) for size in its) for p, its in enumerate(sizes)}
    lonely = Counter()
    for batch in sampler:
        for patient in set(patients[batch].tolist()):
            mine = np.array(batch)[patients[batch] == patient]
            lonely[patient] += len(mine) <= 4 and len(set(trials[mine].tolist())) == 1
    for patient, its in enumerate(sizes):
        if len(its) > 1 and len(set(its)) == 1:
            assert lonely[patient] <= n_chunks[patient] % 2


def test_uniform_cohort_gives_exact_batches_of_full_chunks():
    trials = np.repeat(np.arange(40), 12)
    patients = trials // 5
    sampler = HierarchicalBatchSampler(trials, patients, 24, windows_per_trial=4, trials_per_patient=3)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 480 // 24
    for batch in batches:
        counts = Counter(trials[batch].tolist())
        assert set(counts.values()) <= {4, 8}
        groups = Counter(patients[batch].tolist())
        assert set(groups.values()) <= {12, 24}
        for patient in groups:
            assert len({t for t in counts if t // 5 == patient}) >= 3


def test_group_size_that_does_not_divide_the_batch_still_stays_whole():
    trials = np.repeat(np.arange(30), 4)
    sampler = HierarchicalBatchSampler(trials, trials // 2, 20, windows_per_trial=4, trials_per_patient=2)
    for batch in sampler:
        assert set(Counter((trials[batch] // 2).tolist()).values()) == {8}


def test_deterministic_by_seed_and_epoch_and_new_every_epoch():
    trials, patients = cohort([[9, 9, 9], [9, 9], [9, 9, 9]])

    def make(seed):
        return HierarchicalBatchSampler(trials, patients, 16, seed=seed)

    sampler = make(0)
    first, second = list(sampler), list(sampler)
    assert first != second
    again = make(0)
    again.set_epoch(1)
    assert list(again) == second
    again.set_epoch(0)
    assert list(again) == first
    assert list(make(1)) != first


def test_ranks_share_the_single_process_sequence():
    trials = np.repeat(np.arange(32), 4)
    whole = list(HierarchicalBatchSampler(trials, trials // 4, 16))
    parts = [list(HierarchicalBatchSampler(trials, trials // 4, 16, num_replicas=4, rank=r)) for r in range(4)]
    assert [parts[i % 4][i // 4] for i in range(len(whole))] == whole


def test_continues_in_the_middle_of_an_epoch():
    trials, patients = cohort([[9, 9, 9], [9, 9], [9, 9, 9]])
    whole = HierarchicalBatchSampler(trials, patients, 16)
    first, second = list(whole), list(whole)
    resumed = HierarchicalBatchSampler(trials, patients, 16)
    resumed.load_state_dict(resumed.state_dict(epoch=0, done=3))
    resumed.set_epoch(0)
    assert resumed.state_dict()["done"] == 3
    assert len(resumed) == len(first)
    assert list(resumed) == first[3:]
    assert list(resumed) == second
    resumed.load_state_dict(resumed.state_dict(epoch=0, done=len(first)))
    assert resumed.epoch == 1
    assert list(resumed) == second
    resumed.load_state_dict(resumed.state_dict(epoch=0, done=2))
    resumed.set_epoch(1)
    assert list(resumed) == second


def test_state_of_other_settings_is_refused():
    trials = np.repeat(np.arange(8), 4)
    state = HierarchicalBatchSampler(trials, None, 8).state_dict()
    with pytest.raises(ConfigError, match=r"batch_size=8, this one has batch_size=16"):
        HierarchicalBatchSampler(trials, None, 16).load_state_dict(state)


def test_without_patients_trials_mix_and_without_trials_patients_are_dealt():
    ids = np.repeat(["a", "b", "c", "d"], 8)
    for sampler in (HierarchicalBatchSampler(ids, None, 8), HierarchicalBatchSampler(None, ids, 8)):
        batches = list(sampler)
        assert sorted(sum(batches, [])) == list(range(32))
        assert all(set(Counter(ids[batch].tolist()).values()) <= {4, 8} for batch in batches)


def test_plain_shuffling_gives_full_batches():
    sampler = HierarchicalBatchSampler(np.arange(20), None, 6)
    assert sorted(map(len, sampler)) == [5, 5, 5, 5]


def test_trial_ids_of_two_patients_are_told_apart():
    trials = np.tile(np.repeat([0, 1], 4), 2)
    patients = np.repeat([0, 1], 8)
    sampler = HierarchicalBatchSampler(trials, patients, 4, windows_per_trial=4, trials_per_patient=1)
    assert all(len(set(patients[batch])) == 1 and len(set(trials[batch])) == 1 for batch in sampler)


@pytest.mark.parametrize("levels", [(), ("site",), ("patient",), ("trial",), ("patient", "run"), ("site", "patient")])
def test_from_dataset_takes_what_levels_there_are(levels):
    table = pd.DataFrame({name: np.repeat(np.arange(4), 4) for name in ("site", "patient", "trial", "run")})
    data = WindowDataset(np.zeros((16, 1, 2), "float32"), table, Channels(("I",), ("ecg",), "mV", 1.0), levels)
    sampler = HierarchicalBatchSampler.from_dataset(data, 8)
    batches = list(sampler)
    assert sorted(sum(batches, [])) == list(range(16))
    if levels:
        assert all(set(Counter((np.array(batch) // 4).tolist()).values()) == {4} for batch in batches)


def test_more_processes_than_groups_still_share_every_window():
    trials = np.repeat([0, 1], 8)
    parts = [list(HierarchicalBatchSampler(trials, trials, 256, num_replicas=4, rank=r)) for r in range(4)]
    assert [len(part) for part in parts] == [1, 1, 1, 1]
    assert sorted(sum((batch for part in parts for batch in part), [])) == list(range(16))


def test_no_windows_no_batches():
    sampler = HierarchicalBatchSampler(None, np.array([1]), 4)
    assert list(sampler) == [[0]]
    with pytest.raises(DataError, match="0 windows cannot be shared"):
        HierarchicalBatchSampler(np.array([], int), None, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"windows_per_trial": 0}, "windows_per_trial is 0"),
        ({"trials_per_patient": -1}, "trials_per_patient is -1"),
        ({"num_replicas": 2, "rank": 2}, "rank 2"),
        ({"trials": None, "patients": None}, "neither trials nor patients"),
    ],
)
def test_settings_that_cannot_work(options, message):
    arguments = {"trials": np.zeros(4, int), "patients": np.zeros(4, int), "batch_size": 2, **options}
    with pytest.raises(ConfigError, match=message):
        HierarchicalBatchSampler(**arguments)


def test_ids_of_the_wrong_length_and_too_few_windows():
    with pytest.raises(DataError, match="4 trial ids but 3 patient ids"):
        HierarchicalBatchSampler(np.zeros(4), np.zeros(3), 2)
    with pytest.raises(DataError, match="2 windows cannot be shared by 3 processes"):
        HierarchicalBatchSampler(np.zeros(2), None, 2, num_replicas=3)
