import math
import sys

import numpy as np
import pytest
import torch

import tscl
from tscl.augmenters import Identity, LatentMask
from tscl.encoders import BraindecodeEncoder, TsaiEncoder, encode_pair, load_encoder, save_encoder
from tscl.encoders.from_braindecode import INSTALL, MODELS
from tscl.encoders.from_tsai import ARCHITECTURES
from tscl.errors import ConfigError, DataError
from tscl.heads import GroupHead, HierarchicalHead, LocalHead, ObservationHead, SampleHead
from tscl.learners import ContrastiveLearner
from tscl.types import View

C, T, DIM = 3, 400, 6

SMALL = {
    "InceptionTimePlus": {"nf": 4, "depth": 3},
    "ResNetPlus": {"nf": 4},
    "XResNet1dPlus": {"layers": [1, 1, 1, 1], "widen": 0.125},
    "XceptionTimePlus": {"nf": 2},
    "TCN": {"layers": [5, 5]},
    "OmniScaleCNN": {"layers": [16, 16]},
    "LSTM_FCNPlus": {"hidden_size": 5, "conv_layers": [4, 8, 4]},
    "TSTPlus": {"d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8},
    "PatchTST": {"d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8},
    "TSiTPlus": {"d_model": 8, "n_heads": 2, "depth": 1},
    "Deep4Net": {"n_filters_time": 4, "n_filters_spat": 4, "n_filters_2": 4, "n_filters_3": 4, "n_filters_4": 4},
    "EEGConformer": {"n_filters_time": 8, "num_layers": 1, "num_heads": 2},
    "Labram": {"num_layers": 1, "embed_dim": 200},
    "BIOT": {"embed_dim": 16, "num_layers": 1, "num_heads": 2},
}
POOLED = {"LSTM_FCNPlus", "Labram", "BIOT"}
COARSE = {"XResNet1dPlus": 13, "PatchTST": 50, "EEGNet": 12, "Deep4Net": 17, "EEGConformer": 21}
STEPS = COARSE | dict.fromkeys(POOLED, 1)
FIXED = {name for name, one in ARCHITECTURES.items() if one.fixed} | set(MODELS)


def make(name, n_times=T, dim=DIM, **more):
    torch.manual_seed(0)
    settings = {**SMALL.get(name, {}), **more}
    if name in ARCHITECTURES:
        return TsaiEncoder(C, name, n_times=n_times, dim=dim, **settings)
    pytest.importorskip("braindecode", reason=INSTALL)
    return BraindecodeEncoder(C, name, n_times, sfreq=200.0, dim=dim, ch_names=["Fz", "Cz", "Pz"], **settings)


each = pytest.mark.parametrize("name", [*ARCHITECTURES, *MODELS])


@each
def test_it_learns_with_comet_is_saved_and_comes_back(name, tmp_path):
    rng = np.random.default_rng(0)
    windows = [rng.normal(size=(C, steps)) for steps in rng.integers(T // 2, T, size=16)]
    windows[3][1, 7:9] = np.nan
    windows[0] = rng.normal(size=(C, T))
    patient, trial = np.repeat(np.arange(2), 8), np.repeat(np.arange(4), 4)
    heads = {"sample": 0.3, "trial": 0.3, "patient": 0.3}
    encoder = make(name)
    model = tscl.COMET(
        encoder=encoder,
        heads=heads if name in POOLED else {"observation": 0.1, **heads},
        max_epochs=1,
        batch_size=8,
        random_state=0,
        accelerator="cpu",
    ).fit(windows, patient=patient, trial=trial)
    assert np.isfinite(model.history_["train/loss"]).all()
    assert model.history_["train/sample"].iloc[-1] > 0
    embedded = model.transform(windows)
    assert embedded.shape == (16, DIM)
    assert np.isfinite(embedded).all()
    assert model.encode(windows).shape == (16, DIM, STEPS.get(name, T))
    model.save_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(tscl.COMET.from_pretrained(tmp_path / "model").transform(windows), embedded)


@each
def test_gradients_reach_every_parameter_that_is_trained(name):
    encoder = make(name)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):  # some blocks start as the identity and pass no gradient before the first step
        optimizer.zero_grad()
        z = encoder(torch.randn(4, C, T))
        (z * torch.randn_like(z)).mean().backward()
        optimizer.step()
    assert encoder.pooled == (name in POOLED)
    assert z.shape == (4, DIM, STEPS.get(name, T))
    trained = {key: p for key, p in encoder.named_parameters() if p.requires_grad}
    assert [key for key, p in trained.items() if p.grad is None or not p.grad.isfinite().all()] == []
    # The gradient of a bias in front of a batch norm is 0.
    assert [key for key, p in trained.items() if p.ndim > 1 and not p.grad.any()] == []
    idle = [key for key, p in encoder.named_parameters() if not p.requires_grad]
    assert [key for key in idle if not key.endswith(("scale", "cls_token"))] == []


@each
def test_missing_and_masked_steps_are_zeros_in_the_input(name):
    encoder = make(name).eval()
    x = torch.randn(2, C, T)
    zeros = x.clone()
    zeros[:, :, 100:120] = 0
    missing = x.clone()
    missing[:, 1, 100:120] = torch.nan
    mask = torch.ones(2, T, dtype=torch.bool)
    mask[:, 100:120] = False
    with torch.no_grad():
        expected = encoder(zeros)
        torch.testing.assert_close(encoder(missing), expected)
        torch.testing.assert_close(encoder(x, mask), expected)
        torch.testing.assert_close(encoder(x, mask[:, None].expand(2, C, T)), expected)
        assert not torch.allclose(encoder(x), expected)


@each
def test_shorter_windows_are_padded_and_the_output_cut(name):
    encoder = make(name).eval()
    x = torch.randn(2, C, T // 2)
    with torch.no_grad():
        z, whole = encoder(x), encoder(torch.cat([x, torch.zeros_like(x)], dim=2))
    half = STEPS.get(name, T) / 2
    assert z.shape == (2, DIM, 1 if name in POOLED else round(half) if name in FIXED else math.ceil(half))
    if name in FIXED:
        torch.testing.assert_close(z, whole[:, :, : z.shape[2]])
        with pytest.raises(DataError, match=f"have {T + 1} time steps, the encoder was built for {T}"):
            encoder(torch.randn(1, C, T + 1))
    else:
        assert encoder(torch.randn(1, C, 2 * T)).shape[2] > whole.shape[2]


@each
def test_without_dim_it_has_the_width_of_the_backbone(name, tmp_path):
    encoder = make(name, dim=None).eval()
    assert isinstance(encoder.projection, torch.nn.Identity)
    x = torch.randn(2, C, T)
    save_encoder(encoder, tmp_path)
    other = load_encoder(tmp_path).eval()
    assert other.dim == encoder.dim == encoder(x).shape[1]
    with torch.no_grad():
        assert torch.equal(other(x), encoder(x))


@pytest.mark.parametrize("name", ["ResNetPlus", "TSTPlus", "XResNet1dPlus", "LSTM_FCNPlus"])
def test_two_crops_are_cut_to_the_stretch_they_share(name):
    encoder = make(name)
    x = torch.randn(2, C, T)
    for start, stop in ((40, 360), (10, 383), (150, 301)):
        pair = View(x[:, :, :stop], span=(start, stop)), View(x[:, :, start:], span=(0, stop - start))
        first, second = encode_pair(encoder, *pair)
        assert first.shape == second.shape
        steps = (stop - start) * STEPS.get(name, T) / T
        assert first.shape[2] == 1 if name in POOLED else abs(first.shape[2] - steps) <= (name in COARSE)


def test_a_shared_stretch_below_one_step_of_the_encoder_is_refused():
    x = torch.randn(2, C, T)
    pair = View(x[:, :, :210], span=(200, 210)), View(x[:, :, 200:], span=(0, 10))
    with pytest.raises(ConfigError, match="shorter than a step of the encoder's output"):
        encode_pair(make("XResNet1dPlus"), *pair)


@pytest.mark.parametrize("head", [ObservationHead, HierarchicalHead, LocalHead])
def test_a_pooled_encoder_has_no_steps_to_compare(head):
    views = {"clean": Identity(), "masked": LatentMask("continuous")}
    heads = [SampleHead(), GroupHead("patient"), head(view="masked")]
    with pytest.raises(ConfigError, match="compares time steps, and this TsaiEncoder gives one embedding a window"):
        ContrastiveLearner(make("LSTM_FCNPlus"), heads, views)
    learner = ContrastiveLearner(lambda in_channels: make("LSTM_FCNPlus"), heads, views)
    with pytest.raises(ConfigError, match="leave the head out"):
        learner.build(C)
    ContrastiveLearner(make("TCN"), heads, views)
    ContrastiveLearner(make("LSTM_FCNPlus"), heads[:2], views)


def test_what_cannot_be_built_is_said_in_a_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="ResNet50 is no encoder; use one of InceptionTimePlus, "):
        TsaiEncoder(C, "ResNet50")
    with pytest.raises(ConfigError, match="MiniRocketPlus is no encoder: counts of exceedances have no gradient"):
        TsaiEncoder(C, "MiniRocketPlus")
    with pytest.raises(ConfigError, match="TSTPlus is built for one length of window: pass n_times"):
        TsaiEncoder(C, "TSTPlus")
    with pytest.raises(ConfigError, match="c_out of TCN is set by the encoder"):
        TsaiEncoder(C, "TCN", c_out=3)
    for name in ("ResNetPlus", "TSiTPlus"):
        with pytest.raises(ConfigError, match=f"tsai's {name} cannot be built with n_times=400, d_modle=8: .*d_modle"):
            TsaiEncoder(C, name, n_times=T, d_modle=8)
    with pytest.raises(ConfigError, match=r"cannot have as many filters as channels \(16\): pass another nf"):
        TsaiEncoder(16, "XceptionTimePlus")
    with pytest.raises(ConfigError, match="divisible by n_heads"):
        TsaiEncoder(C, "TSTPlus", n_times=T, d_model=9, n_heads=2)
    with pytest.raises(ConfigError, match="pass numbers, strings and lists"):
        TsaiEncoder(C, "ResNetPlus", act=torch.nn.GELU)
    with pytest.raises(ConfigError, match="EEGNetv4 is no encoder; use one of EEGNet, Deep4Net"):
        BraindecodeEncoder(C, "EEGNetv4", n_times=T)
    with pytest.raises(ConfigError, match="EEGNet is built for one length of window: pass n_times"):
        BraindecodeEncoder(C, "EEGNet")
    with pytest.raises(ConfigError, match="BIOT looks at frequencies: pass sfreq"):
        BraindecodeEncoder(C, "BIOT", n_times=T)
    with pytest.raises(ConfigError, match="pass ch_names, the 3 names"):
        BraindecodeEncoder(C, "Labram", n_times=T, ch_names=["Cz"])
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    with pytest.raises(ConfigError, match=r'pip install "tscl\[braindecode\]"'):
        BraindecodeEncoder(C, "EEGNet", n_times=T)


def test_wrong_input_is_refused():
    encoder = make("TCN")
    with pytest.raises(DataError, match=r"built for 3 channels and takes \(B, C, T\), got \(1, 2, 50\)"):
        encoder(torch.zeros(1, 2, 50))
    with pytest.raises(ConfigError, match="a mask of 8 latent channels does not fit"):
        encoder(torch.zeros(1, C, 50), torch.ones(1, 8, 50, dtype=torch.bool))
