import numpy as np
import pytest
import torch

from tscl.cli import main
from tscl.encoders import DilatedConvEncoder, save_encoder
from tscl.evaluation import embed

X = np.random.default_rng(0).normal(size=(3, 4, 40)).astype("float32")


@pytest.fixture
def run(tmp_path):
    """The two files of a run that hold its encoder."""
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(4, 8, 8, 2)
    save_encoder(encoder, tmp_path)
    return tmp_path, encoder


def test_a_run_becomes_a_program_that_embeds_like_it(run, capsys):
    folder, encoder = run
    out = folder / "encoder.pt2"
    assert main(["export", "--run", str(folder), "--out", str(out)]) == 0
    assert "DilatedConvEncoder for 4 channels is in" in capsys.readouterr().out
    got = torch.export.load(out).module()(torch.from_numpy(X))
    np.testing.assert_allclose(got, embed(encoder, X), rtol=1e-5, atol=1e-5)
    assert [path.name for path in folder.iterdir() if "pt2" in path.name] == ["encoder.pt2"]


def test_a_run_becomes_onnx(run):
    pytest.importorskip("onnxscript")
    import onnxruntime

    folder, encoder = run
    out = folder / "encoder.onnx"
    assert main(["export", "--run", str(folder), "--out", str(out), "--per_step", "true"]) == 0
    [got] = onnxruntime.InferenceSession(out).run(None, {"x": X})
    np.testing.assert_allclose(got, embed(encoder, X, per_step=True), rtol=1e-5, atol=1e-5)


def test_wrong_arguments_are_said(run, capsys):
    folder, _ = run
    assert main(["export", "--run", str(folder), "--out", "encoder.pkl"]) == 1
    assert capsys.readouterr().err == "error: encoder.pkl ends in .pkl: write to .onnx or .pt2.\n"
    assert main(["export", "--run", str(folder / "none"), "--out", "encoder.pt2"]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert main(["export", "--run", str(folder), "--out", str(folder / "x.pt2"), "--pooling", "median"]) == 1
    assert "unknown pooling 'median'" in capsys.readouterr().err
