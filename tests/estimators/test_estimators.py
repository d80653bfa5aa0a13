import json

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import tscl
from tscl.augmenters import LatentMask
from tscl.data import WindowDataset
from tscl.encoders import DilatedConvEncoder, Encoder, save_encoder
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.estimators.inputs import as_signals, as_windows
from tscl.heads import GroupHead, ObservationHead

SMALL = {"dim": 8, "hidden": 6, "depth": 2, "max_epochs": 2, "batch_size": 16, "random_state": 0, "accelerator": "cpu"}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 2, 30)).astype("float32")
PATIENT = np.repeat(["a", "b", "c", "d"], 12)
TRIAL = np.tile(np.repeat([0, 1, 2], 4), 4)


@pytest.fixture(scope="module")
def model():
    return tscl.COMET(**SMALL).fit(X, patient=PATIENT, trial=TRIAL)


def test_fit_transform_encode(model):
    assert model.transform(X).shape == (48, 8)
    assert model.transform(X).dtype == np.float32
    assert model.encode(X).shape == (48, 8, 30)
    np.testing.assert_allclose(model.encode(X).max(axis=2), model.transform(X), rtol=1e-5)
    assert {"train/observation", "train/sample", "train/patient", "train/trial"} <= set(model.history_)
    assert len(model.history_) == 2


def test_the_batch_size_of_transform_does_not_matter(model):
    other = clone(model).set_params(batch_size=7)
    other.encoder_, other.n_channels_in_ = model.encoder_, model.n_channels_in_
    np.testing.assert_allclose(other.transform(X), model.transform(X), rtol=1e-4, atol=1e-6)


def test_random_state_reproduces_exactly_and_leaves_the_callers_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = tscl.COMET(**SMALL).fit_transform(X, patient=PATIENT, trial=TRIAL)
    assert torch.equal(torch.get_rng_state(), before)
    second = tscl.COMET(**SMALL).fit_transform(X, patient=PATIENT, trial=TRIAL)
    np.testing.assert_array_equal(first, second)
    other = tscl.COMET(**{**SMALL, "random_state": 1}).fit_transform(X, patient=PATIENT, trial=TRIAL)
    assert not np.allclose(first, other)


def test_all_kinds_of_input_mean_the_same(model):
    expected = model.transform(X)
    for kind in (torch.from_numpy(X), list(X), X.astype("float64"), as_windows(X, None, PATIENT, TRIAL)):
        np.testing.assert_allclose(model.transform(kind), expected, rtol=1e-5)


def test_a_window_dataset_brings_its_ids(model):
    data = as_windows(X, None, PATIENT, TRIAL)
    same = tscl.COMET(**SMALL).fit(data)
    np.testing.assert_array_equal(same.transform(data), model.transform(X))
    with pytest.raises(ConfigError, match="brings its own ids"):
        tscl.COMET(**SMALL).fit(data, patient=PATIENT)


def test_missing_values_and_unequal_lengths():
    broken = X.copy()
    broken[0, 0, 3:9] = np.nan
    broken[1, 1] = np.nan
    ragged = [x[:, : 30 - i % 5] for i, x in enumerate(broken)]
    embedded = tscl.COMET(**SMALL).fit(ragged, patient=PATIENT, trial=TRIAL).transform(ragged)
    assert np.isfinite(embedded).all()


def test_two_dimensions_are_one_channel():
    model = tscl.TS2Vec(**SMALL).fit(X[:, 0])
    assert model.n_channels_in_ == 1
    np.testing.assert_array_equal(model.transform(X[:, 0]), model.transform(X[:, :1]))


def test_without_ids_comet_contrasts_observations_and_samples():
    model = tscl.COMET(**SMALL).fit(X)
    assert {"train/observation", "train/sample"} <= set(model.history_)
    assert "train/patient" not in model.history_


def test_heads_by_weight_by_object_and_further_levels():
    site = np.repeat(["x", "y"], 24)
    model = tscl.COMET(**SMALL, heads={"observation": 0.5, "site": 0.5}).fit(X, levels={"site": site})
    assert {"train/observation", "train/site"} <= set(model.history_)
    assert "train/sample" not in model.history_
    heads = [ObservationHead(), GroupHead("patient", temperature=0.5)]
    tscl.COMET(**SMALL, heads=heads, augmenter=LatentMask("binomial")).fit(X, patient=PATIENT)
    with pytest.raises(ConfigError, match="the trial head needs trial ids"):
        tscl.COMET(**SMALL, heads={"trial": 1.0}).fit(X, patient=PATIENT)


def test_any_encoder_and_it_is_not_changed():
    torch.manual_seed(0)
    encoder = DilatedConvEncoder(2, dim=5, hidden=4, depth=1)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = tscl.COMET(**SMALL, encoder=encoder).fit(X, patient=PATIENT)
    assert model.transform(X).shape == (48, 5)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    built = tscl.COMET(**SMALL, encoder=lambda channels: DilatedConvEncoder(channels, 7, 4, 1)).fit(X)
    assert built.transform(X).shape == (48, 7)


def test_pooling(model):
    wide = clone(model).set_params(pooling="max+mean+std")
    wide.encoder_, wide.n_channels_in_ = model.encoder_, model.n_channels_in_
    assert wide.transform(X).shape == (48, 24)


@pytest.mark.parametrize("kind", [tscl.COMET, tscl.TS2Vec])
def test_save_and_load(kind, tmp_path):
    model = kind(**SMALL, pooling="mean").fit(X)
    folder = model.save_pretrained(tmp_path / "model")
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    again = kind.from_pretrained(folder)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.get_params() == model.get_params()
    assert len(again.history_) == 2
    with pytest.raises(DataError, match="exists already"):
        model.save_pretrained(folder)


def test_load_errors(model, tmp_path):
    with pytest.raises(DataNotFoundError, match="holds no saved model"):
        tscl.COMET.from_pretrained(tmp_path)
    folder = model.save_pretrained(tmp_path / "model")
    with pytest.raises(DataError, match="holds a COMET, not a TS2Vec"):
        tscl.TS2Vec.from_pretrained(folder)
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**description, "format_version": 99}))
    with pytest.raises(DataError, match="has format 99"):
        tscl.COMET.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        tscl.COMET.from_pretrained(folder)


def test_clone_and_params():
    model = tscl.COMET(dim=12, heads={"sample": 1.0})
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "encoder_")
    with pytest.raises(sklearn.exceptions.NotFittedError):
        model.transform(X)


def test_pipeline_and_cross_validation_with_routed_patients():
    y = np.tile([0, 1], 24)
    with sklearn.config_context(enable_metadata_routing=True):
        comet = tscl.COMET(**{**SMALL, "max_epochs": 1}).set_fit_request(patient=True, trial=True)
        pipeline = make_pipeline(comet, LogisticRegression())
        scores = cross_val_score(
            pipeline, X, y, cv=GroupKFold(3), params={"groups": PATIENT, "patient": PATIENT, "trial": TRIAL}
        )
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((2, 2, 2, 2)), r"shape \(2, 2, 2, 2\): expected"),
        (np.zeros(5), r"shape \(5,\): expected|shape \(1, 1, 5\)|shape \(5,\)"),
        (np.zeros((0, 2, 5)), "nothing in it"),
        ([], "empty list"),
        ([np.zeros((2, 5)), np.zeros((3, 5))], "same channels"),
        (np.array([["a"]]), "no array of numbers"),
        (np.full((2, 1, 4), np.inf), "infinite values in 2 windows"),
    ],
)
def test_unusable_signals_are_refused(bad, said):
    with pytest.raises(DataError, match=said):
        as_signals(bad)


def test_unusable_ids_are_refused(model):
    with pytest.raises(DataError, match=r"patient has shape \(3,\) for 48 windows"):
        tscl.COMET(**SMALL).fit(X, patient=[1, 2, 3])
    with pytest.raises(DataError, match="trial is missing for 1 windows"):
        tscl.COMET(**SMALL).fit(X, trial=[None, *range(47)])
    with pytest.raises(DataError, match="X has 3 channels, the model was fitted on 2"):
        model.transform(np.zeros((1, 3, 30)))


def test_as_windows_tells_trials_apart_by_patient():
    data = as_windows(X, None, PATIENT, TRIAL)
    assert isinstance(data, WindowDataset)
    assert data.levels == ("patient", "trial")
    assert len(np.unique(data.codes("trial"))) == 12


def test_a_model_of_the_first_format_is_still_read(model, tmp_path):
    save_encoder(model.encoder_, tmp_path)
    description = {
        "format_version": 1,
        "tscl_version": "0.1.0",
        "estimator": "COMET",
        "params": SMALL,
        "n_channels_in": model.n_channels_in_,
        "history": model.history_.to_dict(orient="list"),
    }
    (tmp_path / "estimator.json").write_text(json.dumps(description))
    again = tscl.COMET.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.history_.equals(model.history_)
    (tmp_path / "estimator.json").write_text(json.dumps({**description, "format_version": 3}))
    with pytest.raises(DataError, match="is not a description of format 1"):
        tscl.COMET.from_pretrained(tmp_path)


def test_the_encoder_of_a_model_opens_alone_and_an_encoder_is_no_model(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "model", card={"license": "mit"})
    encoder = Encoder.from_pretrained(folder)
    assert all(torch.equal(value, model.encoder_.state_dict()[name]) for name, value in encoder.state_dict().items())
    assert "license: mit" in (folder / "README.md").read_text()
    bare = encoder.save_pretrained(tmp_path / "bare")
    with pytest.raises(DataError, match="holds a bare encoder, not a COMET"):
        tscl.COMET.from_pretrained(bare)


def test_missing_entries_are_named_and_a_loss_that_was_no_number_stays_one(model, tmp_path):
    odd = clone(model)
    odd.encoder_, odd.augmenter_, odd.n_channels_in_ = model.encoder_, None, model.n_channels_in_
    odd.history_ = model.history_.assign(loss=np.nan)
    folder = odd.save_pretrained(tmp_path / "model")
    again = tscl.COMET.from_pretrained(folder)
    assert again.history_.equals(odd.history_)
    said = json.loads((folder / "config.json").read_text())
    for name, message in (("n_channels_in", "has no n_channels_in"), ("params", "is badly described|is damaged")):
        (folder / "config.json").write_text(json.dumps({key: said[key] for key in said if key != name}))
        with pytest.raises(DataError, match=message):
            tscl.COMET.from_pretrained(folder)


def test_attribution_is_that_of_the_encoder(model):
    from tscl.evaluation import attribute_similarity

    said = model.attribute(X[:3], X[3:6], steps=8)
    expected = attribute_similarity(model.encoder_, X[:3], X[3:6], pooling="max", steps=8)
    assert said.first.shape == said.second.shape == (3, 2, 30)
    np.testing.assert_allclose(said.first, expected.first, rtol=1e-5, atol=1e-7)
    with pytest.raises(DataError, match="channels"):
        model.attribute(X[:3, :1], X[3:6])
