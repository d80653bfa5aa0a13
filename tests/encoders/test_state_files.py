import pytest
import torch
from torch import nn

from tscl.encoders import load_state, save_state
from tscl.errors import DataError, DataNotFoundError


def test_any_modules_weights_and_buffers_come_back(tmp_path):
    module = nn.Sequential(nn.Conv1d(2, 3, 5), nn.BatchNorm1d(3))
    module(torch.randn(4, 2, 20))
    save_state(module, tmp_path / "state.safetensors")
    other = nn.Sequential(nn.Conv1d(2, 3, 5), nn.BatchNorm1d(3))
    load_state(other, tmp_path / "state.safetensors")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in module.state_dict().items())


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(DataNotFoundError, match=r"state\.safetensors does not exist"):
        load_state(nn.Linear(2, 3), path)
    save_state(nn.Linear(2, 3), path)
    with pytest.raises(DataError, match="do not fit the Conv1d"):
        load_state(nn.Conv1d(1, 1, 1), path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match="is damaged"):
        load_state(nn.Linear(2, 3), path)
