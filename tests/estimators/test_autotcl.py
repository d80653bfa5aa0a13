import numpy as np
import pytest
import torch

import tscl
from tscl.augmenters import Identity, ParametricAugmenter
from tscl.encoders import CausalConvEncoder, DilatedConvEncoder
from tscl.errors import ConfigError, DataError
from tscl.heads import GlobalHead, LocalHead

SMALL = {"dim": 8, "hidden": 4, "depth": 2, "max_epochs": 1, "batch_size": 16, "random_state": 0, "accelerator": "cpu"}
X = np.random.default_rng(0).normal(size=(40, 2, 48)).astype("float32")


@pytest.fixture(scope="module")
def model():
    return tscl.AutoTCL(**SMALL).fit(X)


def test_it_embeds_and_explains(model):
    assert isinstance(model.encoder_, CausalConvEncoder)
    assert model.transform(X).shape == (40, 8)
    assert model.encode(X).shape == (40, 8, 48)
    mask, transform = model.explain(X)
    assert mask.shape == (40, 48)
    assert transform.shape == X.shape
    assert ((mask >= 0) & (mask <= 1)).all()
    assert (transform > 0).all()
    with torch.no_grad():
        expected = model.augmenter_.explain(torch.from_numpy(X[:3]))
    np.testing.assert_allclose(mask[:3], expected[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(transform[:3], expected[1].numpy(), rtol=1e-5)
    assert {"train/global", "train/local", "train/learned/mmd", "train/learned/kept"} <= set(model.history_)


def test_saved_and_loaded_it_says_the_same(model, tmp_path):
    loaded = tscl.AutoTCL.from_pretrained(model.save_pretrained(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    for ours, theirs in zip(loaded.explain(X), model.explain(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_settings_reach_heads_and_augmenter():
    model = tscl.AutoTCL(
        local_weight=0.0, temperature=0.3, objective="adversarial", threshold=0.7, augmenter_lr=0.5, augmenter_every=3
    )
    [head] = model._heads(None, 8)
    assert isinstance(head, GlobalHead)
    assert head.loss.temperature == 0.3
    augmenter = model._views()["learned"]
    assert (augmenter.objective, augmenter.threshold, augmenter.lr, augmenter.every) == ("adversarial", 0.7, 0.5, 3)
    heads = tscl.AutoTCL(segments=8)._heads(None, 8)
    assert [type(one) for one in heads] == [GlobalHead, LocalHead]
    assert heads[1].loss.segments == 8


def test_comet_with_learned_views_explains_itself_and_needs_its_augmenter_to_be_loaded(tmp_path):
    trunk = {"trunk": lambda channels: DilatedConvEncoder(channels, dim=4, hidden=4, depth=1, dropout=0.0)}
    patient, trial = np.arange(40) // 10, np.arange(40) // 4
    model = tscl.COMET(augmenter=ParametricAugmenter(**trunk), **SMALL).fit(X, patient=patient, trial=trial)
    mask, _ = model.explain(X)
    folder = model.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="has no augmenter that learned"):
        tscl.COMET.from_pretrained(folder).explain(X)
    loaded = tscl.COMET.from_pretrained(folder, augmenter=ParametricAugmenter(**trunk))
    np.testing.assert_array_equal(loaded.explain(X)[0], mask)
    with pytest.raises(DataError, match="do not fit"):
        tscl.COMET.from_pretrained(folder, augmenter=ParametricAugmenter())


def test_what_cannot_be_explained_is_said(model):
    with pytest.raises(ConfigError, match="TS2Vec has no augmenter that learned"):
        tscl.TS2Vec(**SMALL).fit(X).explain(X)
    fixed = tscl.AutoTCL(augmenter=Identity(), **SMALL).fit(X)
    with pytest.raises(ConfigError, match="has no augmenter that learned"):
        fixed.explain(X)
    with pytest.raises(DataError, match="3 channels, the model was fitted on 2"):
        model.explain(np.zeros((4, 3, 48)))


def test_windows_too_short_for_the_segments_are_refused():
    with pytest.raises(ValueError, match="16 segments of 10 time steps"):
        tscl.AutoTCL(**SMALL).fit(X[:, :, :10])


def test_missing_values_and_the_same_seed(model):
    gaps = X.copy()
    gaps[3, 0, 5:9] = np.nan
    gaps[7, :, 40:] = np.nan
    fitted = tscl.AutoTCL(**SMALL).fit(gaps)
    assert np.isfinite(fitted.transform(gaps)).all()
    assert np.isfinite(fitted.history_["train/loss"]).all()
    again = tscl.AutoTCL(**SMALL).fit(X)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.explain(X)[0], model.explain(X)[0])
