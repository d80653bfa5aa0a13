from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tscl.types import Batch, Sensors, View


def make() -> Batch:
    return Batch(
        x=torch.zeros(3, 2, 5),
        levels={"patient": torch.tensor([0, 0, 1])},
        y=torch.tensor([0, 1, -1]),
        sensors=Sensors(torch.zeros(3, 2, 2), torch.zeros(3, dtype=torch.long)),
        paired={"speech": torch.zeros(3, 4, 5)},
    )


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.x, batch.levels["patient"], batch.y, *batch.sensors, batch.paired["speech"]]


def test_a_batch_moves_as_a_whole():
    batch = make()
    moved = batch.to("meta")
    assert len(batch) == 3
    assert all(tensor.device.type == "meta" for tensor in tensors(moved))
    assert all(tensor.device.type == "cpu" for tensor in tensors(batch))
    assert isinstance(moved.sensors, Sensors)
    assert [t.dtype for t in tensors(moved)] == [t.dtype for t in tensors(batch)]


def test_a_batch_of_signals_alone():
    moved = Batch(torch.zeros(1, 1, 2)).to("cpu", non_blocking=True)
    assert (moved.levels, moved.y, moved.sensors, moved.paired) == ({}, None, None, {})


def test_lightning_moves_a_batch():
    from lightning.fabric.utilities import move_data_to_device

    assert move_data_to_device(make(), torch.device("meta")).x.device.type == "meta"


class Batches(Dataset[Batch]):
    """Large signals beside small ids, and a tensor of each kind that cannot be sent as values."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Batch:
        torch.manual_seed(index)
        batch = make()
        batch.x = torch.randn(8, 3, 1000)
        batch.levels["patient"] = torch.randint(9, (16,))[::2]
        batch.paired["half"] = torch.randn(8, 2).bfloat16()
        batch.paired["empty"] = torch.zeros(0, 4)
        return batch


def test_batches_of_workers_are_those_of_this_process():
    here, there = (list(DataLoader(Batches(), batch_size=None, num_workers=n)) for n in (0, 2))
    for one, other in zip(here, there, strict=True):
        assert [t.dtype for t in tensors(one)] == [t.dtype for t in tensors(other)]
        assert all(map(torch.equal, tensors(one), tensors(other)))
        assert all(torch.equal(one.paired[name], other.paired[name]) for name in ("half", "empty"))
        assert isinstance(other.sensors, Sensors)
        other.levels["patient"] += 1
        other.x += 1


def test_only_large_tensors_of_a_batch_take_shared_memory():
    batch = Batches()[0]
    ForkingPickler.dumps(batch)
    shared = [batch.x, batch.paired["half"]]
    assert all(t.is_shared() == any(t is one for one in shared) for t in [*tensors(batch), *shared])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_pinned_memory():
    assert all(tensor.is_pinned() for tensor in tensors(make().pin_memory()))


def test_a_view_has_no_mask_span_or_kept_by_default():
    assert View(torch.zeros(1, 1, 2))[1:] == (None, None, None)
