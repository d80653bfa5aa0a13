"""The numbers that the authors' published code gives on fixed inputs (their axes are (B, T, D))."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tscl.encoders import from_reference_state
from tscl.functional import group_contrast, hierarchical_contrast, observation_contrast, sample_contrast

HERE = Path(__file__).parent
COMET = np.load(HERE / "comet_losses.npz", allow_pickle=False)
TS2VEC = np.load(HERE / "ts2vec_losses.npz", allow_pickle=False)
ENCODER = np.load(HERE / "ts2vec_encoder.npz", allow_pickle=False)


def views(golden, case):
    return (torch.tensor(golden[f"{case}/{name}"]).mT.contiguous().requires_grad_() for name in ("z1", "z2"))


def assert_close(ours, golden):
    np.testing.assert_allclose(ours, golden, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in COMET.files}))
@pytest.mark.parametrize("kind", ["sample", "observation"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_comet_fine_levels(case, kind, multiscale):
    z1, z2 = views(COMET, case)
    loss = {"sample": sample_contrast, "observation": observation_contrast}[kind](z1, z2, multiscale)
    loss.backward()
    name = f"{case}/{kind}{'_hierarchical' if multiscale else ''}"
    assert_close(loss.item(), COMET[f"{name}/loss"])
    assert_close(z1.grad.mT, COMET[f"{name}/grad_z1"])
    assert_close(z2.grad.mT, COMET[f"{name}/grad_z2"])


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in COMET.files}))
@pytest.mark.parametrize("level", ["trial", "patient"])
def test_comet_id_levels(case, level):
    z1, z2 = views(COMET, case)
    loss = group_contrast(z1, z2, torch.tensor(COMET[f"{case}/{level}"]))
    loss.backward()
    assert_close(loss.item(), COMET[f"{case}/{level}/loss"])
    assert_close(z1.grad.mT, COMET[f"{case}/{level}/grad_z1"])
    assert_close(z2.grad.mT, COMET[f"{case}/{level}/grad_z2"])


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in TS2VEC.files}))
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temporal_unit", [0, 2])
def test_ts2vec(case, alpha, temporal_unit):
    z1, z2 = views(TS2VEC, case)
    loss = hierarchical_contrast(z1, z2, alpha, temporal_unit)
    loss.backward()
    name = f"{case}/alpha={alpha}/temporal_unit={temporal_unit}"
    assert_close(loss.item(), TS2VEC[f"{name}/loss"])
    assert_close(z1.grad.mT, TS2VEC[f"{name}/grad_z1"])


@pytest.fixture
def encoder():
    state = {name[len("param/") :]: torch.tensor(ENCODER[name]) for name in ENCODER.files if name.startswith("param/")}
    return from_reference_state(state).eval()


def embed(encoder, x, mask=None):
    with torch.no_grad():
        return encoder(torch.tensor(x).mT, mask).mT.numpy()


def test_encoder(encoder):
    assert_close(embed(encoder, ENCODER["x"]), ENCODER["y"])


def test_encoder_with_missing_steps(encoder):
    assert np.isnan(ENCODER["x_nan"]).any()
    assert_close(embed(encoder, ENCODER["x_nan"]), ENCODER["y_nan"])


def test_encoder_with_the_last_step_masked(encoder):
    mask = torch.ones(ENCODER["x"].shape[:2], dtype=torch.bool)
    mask[:, -1] = False
    assert_close(embed(encoder, ENCODER["x"], mask), ENCODER["y_mask_last"])
    assert not np.allclose(embed(encoder, ENCODER["x"]), ENCODER["y_mask_last"], atol=1e-3)


def test_parameters_of_wrapped_models_are_understood(encoder):
    state = {
        "module." + name[len("param/") :]: torch.tensor(ENCODER[name])
        for name in ENCODER.files
        if name.startswith("param/")
    }
    state["n_averaged"] = torch.tensor(3)
    again = from_reference_state(state).eval()
    assert_close(embed(again, ENCODER["x"]), ENCODER["y"])


def test_other_checkpoints_are_refused():
    with pytest.raises(ValueError, match="not a parameter of the TS2Vec encoder"):
        from_reference_state({"conv1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="no 'input_fc.weight'"):
        from_reference_state({})
