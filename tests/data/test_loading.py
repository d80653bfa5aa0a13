from __future__ import annotations

import os

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tscl.data import Channels, HierarchicalBatchSampler, WindowDataModule, WindowDataset, WindowLoader, eval_loader
from tscl.data.loading import ReadAhead, read_ahead
from tscl.types import Batch


def windows(n_patients: int = 4, n_trials: int = 3, size: int = 4) -> WindowDataset:
    """Windows whose only value is their row number."""
    n = n_patients * n_trials * size
    trial = np.arange(n) // size
    table = pd.DataFrame({"patient": trial // n_trials, "trial": trial})
    x = np.arange(n, dtype="float32")[:, None, None]
    return WindowDataset(x, table, Channels(("I",), ("ecg",), "mV", 1.0))


def seen(batch: Batch) -> list[int]:
    return batch.x[:, 0, 0].long().tolist()


def loader(workers: int = 0) -> WindowLoader:
    data = windows()
    return WindowLoader(data, HierarchicalBatchSampler.from_dataset(data, 8, seed=3), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_batches_in_the_order_of_the_sampler(workers):
    first = [seen(batch) for batch in loader(workers)]
    data = windows()
    assert first == list(HierarchicalBatchSampler.from_dataset(data, 8, seed=3))
    batch = next(iter(loader(workers)))
    assert isinstance(batch, Batch)
    assert batch.levels["trial"].tolist() == [window // 4 for window in seen(batch)]


@pytest.mark.parametrize("workers", [0, 2])
def test_place_is_what_the_consumer_received(workers):
    whole = loader()
    expected = [[seen(batch) for batch in whole] for _ in range(3)]
    interrupted = loader(workers)
    batches = iter(interrupted)
    for _ in range(2):
        next(batches)
    state = interrupted.state_dict()
    assert (state["epoch"], state["done"]) == (0, 2)
    resumed = loader(workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert len(resumed) == len(expected[0])
    assert [seen(batch) for batch in resumed] == expected[0][2:]
    assert [seen(batch) for batch in resumed] == expected[1]
    assert [seen(batch) for batch in resumed] == expected[2]


def test_abandoned_pass_starts_again():
    one = loader()
    first = [seen(batch) for batch in loader()]
    next(iter(one))
    assert [seen(batch) for batch in one] == first


def test_epoch_set_after_the_iterator_was_made_counts():
    whole = loader()
    second = [[seen(batch) for batch in whole] for _ in range(2)][1]
    late = loader()
    batches = iter(late)
    late.sampler.set_epoch(1)
    assert [seen(batch) for batch in batches] == second


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_numbers_are_left_alone(workers):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(workers))
    list(eval_loader(windows(), 5, workers))
    assert torch.equal(before, torch.get_rng_state())


def test_eval_loader_gives_all_in_order():
    batches = [seen(batch) for batch in eval_loader(windows(), 10)]
    assert [len(batch) for batch in batches] == [10, 10, 10, 10, 8]
    assert sum(batches, []) == list(range(48))


class Recorder(L.LightningModule):
    """A model whose weights depend on every batch and on random numbers, and which notes what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.saw: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.saw.append((self.current_epoch, seen(batch)))
        return self.layer(batch.x[:, 0] / 48).square().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert seen(batch)[0] % 8 == 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def train(folder, workers, every, stop=-1, resume=None, val=True, epochs=3) -> Recorder:
    torch.manual_seed(0)
    model = Recorder()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)
    trainer = L.Trainer(
        max_epochs=epochs, max_steps=stop, accelerator="cpu", logger=False, callbacks=[saver],
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
    )  # fmt: skip
    data = windows()
    module = WindowDataModule(
        data, data.select(np.arange(16)) if val else None, batch_size=8, num_workers=workers, seed=3
    )
    if resume is None:
        trainer.fit(model, datamodule=module)
    else:
        trainer.fit(model, datamodule=module, ckpt_path=resume, weights_only=True)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("workers", "step", "val"),
    [
        (0, 2, True),
        (0, 2, False),
        (0, 6, True),
        (0, 6, False),
        (0, 9, True),
        (0, 12, False),
        (0, 13, True),
        (2, 8, True),
    ],
)
def test_lightning_resumes_with_exactly_the_remaining_batches(tmp_path, workers, step, val):
    whole = train(tmp_path / "whole", 0, 100, val=val)
    per_epoch = len(whole.saw) // 3
    assert per_epoch == 6
    train(tmp_path / "cut", workers, 1, stop=step, val=val)
    checkpoint = tmp_path / "cut" / f"step={step}.ckpt"
    resumed = train(tmp_path / "resumed", workers, 100, resume=checkpoint, val=val)
    assert [batch for _, batch in resumed.saw] == [batch for _, batch in whole.saw[step:]]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


@pytest.mark.filterwarnings("ignore")
def test_lightning_draws_new_batches_every_epoch(tmp_path):
    whole = train(tmp_path, 0, 100)
    epochs = [[batch for epoch, batch in whole.saw if epoch == number] for number in range(3)]
    assert all(sorted(sum(epoch, [])) == list(range(48)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.filterwarnings("ignore")
def test_prediction_keeps_all_windows_in_order():
    class Predictor(Recorder):
        def predict_step(self, batch: Batch, batch_idx: int) -> list[int]:
            return seen(batch)

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, use_distributed_sampler=False)
    assert sum(trainer.predict(Predictor(), eval_loader(windows(), 10)), []) == list(range(48))


class Made(WindowDataset):
    """Windows that are not only copied; their labels say which process made them."""

    def __getitem__(self, index) -> Batch:
        batch = super().__getitem__(index)
        return Batch(batch.x + 1, batch.levels, torch.full((len(batch),), os.getpid()))


def test_windows_that_a_class_makes_are_made_by_the_workers():
    plain = windows()
    data = Made(plain.signals, plain.metadata, plain.channels, plain.levels)
    batches = list(eval_loader(data, 5, num_workers=2))
    assert sum(map(seen, batches), []) == list(range(1, 49))
    makers = {maker for batch in batches for maker in batch.y.tolist()}
    assert len(makers) == 2
    assert os.getpid() not in makers


def test_workers_send_the_numbers_of_windows_that_are_only_copied(tmp_path):
    windows().save(tmp_path / "store")
    data = WindowDataset.open(tmp_path / "store").select([5, 3, 40])
    assert read_ahead(data, 0) is data
    ahead = read_ahead(data, 2)
    assert isinstance(ahead, ReadAhead)
    assert (len(ahead), ahead[[2, 0]]) == (3, [2, 0])
    [batch] = eval_loader(data, 5, num_workers=1)
    assert seen(batch) == [5, 3, 40]
    assert all(torch.equal(batch.levels[level], data[:].levels[level]) for level in data.levels)


def test_windows_behind_a_url_are_fetched_by_the_workers(tmp_path):
    fs = pytest.importorskip("fsspec").filesystem("memory")
    windows().save(tmp_path / "store")
    fs.put(str(tmp_path / "store"), "/ahead", recursive=True)
    data = WindowDataset.open("memory://ahead")
    assert read_ahead(data, 2) is data
