from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from tscl.data.speech.representations.base import standardised
from tscl.data.speech.representations.logmel import LogMel
from tscl.data.speech.representations.wav2vec2 import Wav2Vec2
from tscl.errors import ConfigError, DataError, DataNotFoundError

SFREQ = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SFREQ))).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers", reason="Wav2Vec2 needs transformers")
    import torch

    folder = tmp_path_factory.mktemp("wav2vec2")
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        vocab_size=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layers", [[-4, -3, -2, -1], [0], [5, 2]])
def test_wav2vec2_is_the_mean_of_the_layers(tiny, layers):
    import torch
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    sound = 0.3 + noise(1.5)
    features, times = Wav2Vec2(tiny, layers=layers).frames(sound)
    values = Wav2Vec2FeatureExtractor.from_pretrained(tiny)(
        sound, sampling_rate=SFREQ, return_tensors="pt"
    ).input_values
    with torch.no_grad():
        states = AutoModel.from_pretrained(tiny).eval()(values, output_hidden_states=True).hidden_states
    expected = torch.stack([states[layer][0] for layer in layers]).mean(0).T.numpy()
    assert features.dtype == np.float32
    assert features.shape == (32, (len(sound) - 400) // 320 + 1)
    assert np.allclose(features, expected, atol=1e-5)
    assert np.allclose(times, (np.arange(features.shape[1]) * 320 + 200) / SFREQ)


def test_wav2vec2_in_chunks(tiny):
    whole = Wav2Vec2(tiny)
    sound = noise(6)
    one, _ = whole.frames(sound)
    two, times = Wav2Vec2(tiny, chunk=2.0, context=1.0).frames(sound)
    assert one.shape == two.shape
    assert len(times) == two.shape[1]
    assert 0 < np.abs(one - two).max() < 0.01 * one.std()
    # Frames 100 to 199 of the second chunk, which is heard from 1 s to 5 s.
    piece = whole._run(standardised(sound)[SFREQ : 5 * SFREQ])
    assert np.allclose(two[:, 100:200], piece[:, 50:150], atol=1e-5)
    assert whole(sound[:10], 120.0).shape == (32, 1)


def test_wav2vec2_errors_say_what_to_do(tiny, tmp_path, monkeypatch):
    for folder in (None, tmp_path / "none"):
        with pytest.raises(DataNotFoundError, match=r"model\.safetensors, config\.json .* pass folder=DIR"):
            Wav2Vec2(folder).check()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataNotFoundError, match=r"has no model\.safetensors"):
        Wav2Vec2(tmp_path).check()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DataError, match="a pickle, which is never loaded"):
        Wav2Vec2(tmp_path).check()
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataNotFoundError, match=r"has no preprocessor_config\.json"):
        Wav2Vec2(tmp_path).check()
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        Wav2Vec2(tmp_path).check()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(DataError, match="describes no known model"):
        Wav2Vec2(tmp_path).frames(noise(1))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match="holds a bert model: take wav2vec 2.0"):
        Wav2Vec2(tmp_path).frames(noise(1))
    (tmp_path / "config.json").write_text((tiny / "config.json").read_text())
    with pytest.raises(DataError, match="the weights in .* cannot be read"):
        Wav2Vec2(tmp_path).frames(noise(1))
    with pytest.raises(ConfigError, match=r"layers=\[6\]: .* hidden states -6 to 5"):
        Wav2Vec2(tiny, layers=[6]).frames(noise(1))
    with pytest.raises(ConfigError, match="device='nonsense'"):
        Wav2Vec2(tiny, device="nonsense").frames(noise(1))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r'pip install "tscl\[speech\]"'):
        Wav2Vec2(tiny).frames(noise(1))


def test_wav2vec2_refuses_weights_that_are_not_all_there(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((tiny / name).read_text())
    weights = {key: value for key, value in load_file(tiny / "model.safetensors").items() if "layers.2." not in key}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack \d+ tensors, first encoder\.layers\.2"):
        Wav2Vec2(tmp_path).frames(noise(1))


def test_a_loaded_model_is_not_pickled(tiny):
    sound = noise(1)
    for made in (Wav2Vec2(tiny), LogMel(n_bands=20)):
        expected = made(sound, 120.0)
        raw = pickle.dumps(made)
        assert len(raw) < 1000
        again = pickle.loads(raw)
        assert repr(again) == repr(made)
        assert np.array_equal(again(sound, 120.0), expected)
