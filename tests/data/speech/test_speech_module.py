"""From a study to batches: every training window once, validation in one order, two processes that share."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tscl.data.datasets import SimulatedSpeech
from tscl.data.preprocessing import PickChannels
from tscl.data.speech.module import SpeechDataModule
from tscl.data.speech.representations import LogMel
from tscl.data.speech.split import split_by_manifest
from tscl.data.speech.synthesis import synthesise_speech
from tscl.errors import ConfigError, DataNotFoundError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sounds of about 20 s."""
    folder = tmp_path_factory.mktemp("speech")
    for seed in (0, 1):
        made = synthesise_speech(folder / f"made{seed}", minutes=1 / 3, seed=seed)
        for path in made.iterdir():
            path.rename(folder / path.name.replace("00", f"{seed:02d}"))
    return folder


def module_of(folder, **options):
    given = {"seconds": 1.0, "batch_size": 16, "block_seconds": 3.0, "val": 0.2, "test": 0.3, **options}
    return SpeechDataModule(SimulatedSpeech(n_subjects=3, snr=0.0), LogMel(n_bands=8), speech=str(folder), **given)


@pytest.fixture(scope="module")
def module(folder):
    made = module_of(folder)
    made.setup()
    return made


def rows_of(module, loader):
    """Which windows of the module a loader gave, a list a batch; everyone heard every segment once."""
    table = module.windows.metadata
    who = [module.windows.subjects.index(subject) for subject in table["patient"]]
    row_of = {key: row for row, key in enumerate(zip(who, table["segment"], strict=True))}
    assert len(row_of) == len(table)
    rows = []
    for batch in loader:
        keys = zip(batch.sensors.subject.tolist(), batch.levels["segment"].tolist(), strict=True)
        rows.append([row_of[key] for key in keys])
        np.testing.assert_array_equal(batch.x, module.windows[rows[-1]].x)
    return rows


def test_batches_carry_brain_speech_sensors_and_segments(module):
    batch = next(iter(module.train_dataloader()))
    n = len(batch)
    assert 8 <= n <= 16
    assert batch.x.shape == (n, 102, 120)
    assert batch.paired["speech"].shape == (n, 8, 120)
    assert batch.sensors.positions.shape == (n, 102, 2)
    assert batch.sensors.subject.shape == batch.levels["segment"].shape == batch.levels["patient"].shape == (n,)
    assert (module.n_channels, module.n_features, module.n_subjects) == (102, 8, 3)
    assert batch.x.nan_to_num().abs().max() <= 20
    electrodes = batch.sensors.subject == 1
    assert batch.x[electrodes, 32:].isnan().all()
    assert not batch.x[electrodes, :32].isnan().any()


def test_every_training_window_comes_once_an_epoch_in_a_new_order(module):
    loader = module.train_dataloader()
    first, second = (sum(rows_of(module, loader), []) for _ in range(2))
    assert sorted(first) == sorted(second) == sorted(module.split.train.rows.tolist())
    assert first != second
    assert sum(rows_of(module, module.train_dataloader()), []) == first
    assert len(loader) == len(list(loader))


def test_validation_is_mixed_once_and_stays_so(module):
    [one], [other] = module.val_dataloader(), module.val_dataloader()
    rows = sum(rows_of(module, one), [])
    assert rows == sum(rows_of(module, one), []) == sum(rows_of(module, other), [])
    assert sorted(rows) == sorted(module.split.val.rows.tolist())
    assert rows != sorted(rows)


def test_two_processes_share_the_windows(module):
    parts = []
    for rank in (0, 1):
        module.trainer = SimpleNamespace(
            world_size=2, global_rank=rank, strategy=SimpleNamespace(root_device=torch.device("cpu"))
        )
        try:
            parts.append(rows_of(module, module.train_dataloader()))
        finally:
            module.trainer = None
    assert len(parts[0]) == len(parts[1])
    assert sorted(sum(parts[0] + parts[1], [])) == sorted(module.split.train.rows.tolist())
    assert max(map(len, parts[0] + parts[1])) <= 16


def test_the_training_side_is_standardised(module):
    side = module.split.train
    heard = side.metadata.drop_duplicates(["sound", "sound_onset"]).index.to_numpy()
    speech = side.speech(heard)
    assert abs(speech.mean()) < 0.1
    assert abs(speech.std() - 1) < 0.1


def test_windows_on_a_grid_train_and_words_are_judged(folder, module):
    made = module_of(folder, train_stride=0.1)
    made.setup()
    np.testing.assert_array_equal(made.split.test.metadata["onset"], module.split.test.metadata["onset"])
    assert made.split.train.metadata["word"].isna().all()
    steps = made.split.train.metadata["sound_onset"] / 0.1
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
    assert len(made.split.train) > len(module.split.train)
    made.split.check()
    again = split_by_manifest(made.windows, json.loads(json.dumps(made.split.manifest)), made.training_windows())
    np.testing.assert_array_equal(again.train.rows, made.split.train.rows)
    assert module.training_windows() is None


def test_a_cache_changes_nothing(folder, module, tmp_path):
    made = module_of(folder, cache=str(tmp_path / "cache"))
    made.prepare_data()
    assert len(list((tmp_path / "cache").iterdir())) == 3
    made.setup()
    assert made.split.manifest == module.split.manifest
    for name in ("x", "paired"):
        one, other = (getattr(m.split.test[:], name) for m in (made, module))
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_steps_seeds_and_no_validation(folder, module):
    made = module_of(folder, steps=[PickChannels(types=["eeg"])], val=0.0, on_error="skip", split_seed=4)
    made.setup()
    assert made.data.subjects == ["S2"]
    assert len(made.data.skipped) == 2
    assert made.n_channels == 32
    assert made.val_dataloader() == []
    assert made.split.manifest["test"]["ids"] != module.split.manifest["test"]["ids"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seconds": 0.0}, "windows of 0 s"),
        ({"seconds": 1.0, "baseline": 1.5}, "a baseline of 1.5 s"),
        ({"baseline": -0.1}, "a baseline of -0.1 s"),
        ({"clip": 0.0}, "clipped at 0,"),
        ({"batch_size": 0}, "0 a batch"),
        ({"train_stride": 0.0}, "train_stride is 0 s"),
        ({"val": -0.1}, "val=-0.1 and test=0.3"),
        ({"test": 0.0}, "test=0:"),
        ({"val": 0.5, "test": 0.5}, "which leave some for training"),
    ],
)
def test_settings_out_of_range_are_refused(folder, options, said):
    with pytest.raises(ConfigError, match=said):
        module_of(folder, **options)


def test_a_folder_without_sounds_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match="has no WAV files"):
        module_of(tmp_path).setup()
