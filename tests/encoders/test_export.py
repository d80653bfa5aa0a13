import sys

import numpy as np
import pytest
import torch
from torch import nn

from tscl.encoders import BrainConv, CausalConvEncoder, DilatedConvEncoder, export_onnx, export_program
from tscl.errors import ConfigError, DataError
from tscl.functional import pool_time
from tscl.types import Sensors

C = 5
ENCODERS = {
    "dilated": lambda: DilatedConvEncoder(C, 6, 6, 6),
    "causal": lambda: CausalConvEncoder(C, 6, 6, 4),
    "brain": lambda: BrainConv(C, 6, 2, virtual=4, hidden=6, n_frequencies=3),
    "brain without attention": lambda: BrainConv(C, 6, 2, virtual=4, hidden=6, attention=False),
}
CASES = [(name, None) for name in ENCODERS] + [("dilated", "max+std"), ("brain", "max+std")]
"""Pooling is the same code behind every encoder: one that takes sensors and one that does not."""
SIZES = [(1, 64), (2, 64), (5, 17), (3, 300), (1, 1)]


def encoder_of(name):
    torch.manual_seed(1)
    encoder = ENCODERS[name]()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder.train()


def windows(encoder, n, n_times):
    """Windows with a missing step, a missing channel and a padded end, and where an encoder takes them sensors."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, C, n_times, generator=generator)
    x[0, 1] = torch.nan
    x[-1, 2, n_times // 2] = torch.nan
    x[-1, :, int(0.8 * n_times) + 1 :] = torch.nan
    inputs = {"x": x}
    if encoder.takes_sensors:
        positions = torch.rand(n, C, 2, generator=generator)
        positions[0, 3] = torch.nan
        positions[-1, 0, 0] = -0.5
        inputs |= {"positions": positions, "subject": torch.arange(n) % 3 - 1}
    return inputs


@torch.no_grad()
def expected(encoder, inputs, pooling):
    encoder.eval()
    x, *sensors = inputs.values()
    z = encoder(x, sensors=Sensors(*sensors) if sensors else None)
    encoder.train()
    return z if pooling is None else pool_time(z, pooling, ~x.isnan().all(dim=1))


@pytest.mark.parametrize(("name", "pooling"), CASES)
def test_onnxruntime_gives_the_same_embeddings(name, pooling, tmp_path):
    pytest.importorskip("onnxscript")
    import onnx
    import onnxruntime

    encoder = encoder_of(name)
    path = export_onnx(encoder, tmp_path / "encoder.onnx", C, 64, pooling=pooling)
    assert encoder.training
    assert [one.name for one in tmp_path.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(path)
    for size in SIZES:
        inputs = windows(encoder, *size)
        assert [one.name for one in session.get_inputs()] == list(inputs)
        [got] = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        want = expected(encoder, inputs, pooling).numpy()
        assert want.std() > 0.01
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=str(size))
    nodes = onnx.load(path).graph.node
    assert {node.domain for node in nodes} <= {"", "ai.onnx"}


@pytest.mark.parametrize(("name", "pooling"), CASES)
def test_a_program_of_torch_gives_the_same_embeddings(name, pooling, tmp_path):
    encoder = encoder_of(name)
    program = torch.export.load(export_program(encoder, tmp_path / "encoder.pt2", C, 64, pooling=pooling))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(target.startswith(("aten.", "<built-in", "sym_", "wrap_with_autocast")) for target in targets), targets
    for size in SIZES:
        inputs = windows(encoder, *size)
        got = program.module()(*inputs.values())
        torch.testing.assert_close(got, expected(encoder, inputs, pooling), rtol=1e-5, atol=1e-5)


def test_segments_of_time_fix_the_length(tmp_path):
    encoder = encoder_of("dilated")
    program = torch.export.load(export_program(encoder, tmp_path / "encoder.pt2", C, 30, pooling="mean/3")).module()
    inputs = windows(encoder, 4, 30)
    torch.testing.assert_close(program(*inputs.values()), expected(encoder, inputs, "mean/3"), rtol=1e-5, atol=1e-5)
    with pytest.raises(Exception, match="30"):
        program(torch.zeros(4, C, 31))


class _Deciding(nn.Module):
    def forward(self, x):
        return x if x.sum() > 1 else -x


def test_what_cannot_be_exported_is_said_in_one_sentence(tmp_path, monkeypatch):
    encoder = encoder_of("dilated")
    with pytest.raises(ConfigError, match=r"encoder\.pb ends in \.pb: write to \.onnx"):
        export_onnx(encoder, tmp_path / "encoder.pb", C)
    with pytest.raises(ConfigError, match=r"cannot embed windows of 4 channels and 256 times: the encoder was built"):
        export_program(encoder, tmp_path / "encoder.pt2", 4)
    with pytest.raises(ValueError, match="unknown pooling 'median'"):
        export_program(encoder, tmp_path / "encoder.pt2", C, pooling="median")
    with pytest.raises(ConfigError, match="torch cannot export the _Deciding"):
        export_program(_Deciding(), tmp_path / "encoder.pt2", C)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be written"):
        export_program(encoder, tmp_path / "file" / "encoder.pt2", C)
    monkeypatch.setattr("tscl.encoders.export.find_spec", lambda name: None if name == "onnxscript" else sys)
    with pytest.raises(ConfigError, match=r"onnxscript, which is not installed: pip install 'tscl\[onnx\]'"):
        export_onnx(encoder, tmp_path / "encoder.onnx", C)
