import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tscl
from tscl.augmenters import ChannelScaling, Compose, Identity, Jitter
from tscl.encoders import DilatedConvEncoder
from tscl.errors import DataError
from tscl.heads import ProjectionHead
from tscl.learners import ContrastiveLearner

SMALL = {"dim": 6, "hidden": 4, "depth": 1, "max_epochs": 1, "batch_size": 32, "accelerator": "cpu", "random_state": 0}
RNG = np.random.default_rng(0)
PATIENT = np.repeat(list("abcdefgh"), 6)
TRIAL = np.tile(np.repeat([0, 1], 3), 8)
Y = np.isin(PATIENT, list("bdfh")).astype(int)
X = (RNG.normal(size=(48, 2, 30)) + 3 * Y[:, None, None]).astype("float32")


class SeenPatients(tscl.COMET):
    """Keeps what reached ``fit``."""

    def fit(self, X, y=None, *, patient=None, trial=None, levels=None):
        self.patient_, self.trial_ = patient, trial
        return super().fit(X, y, patient=patient, trial=trial, levels=levels)


def test_grid_search_by_patient_routes_the_ids_of_the_training_fold_to_fit_alone():
    with sklearn.config_context(enable_metadata_routing=True):
        comet = SeenPatients(**SMALL).set_fit_request(patient=True, trial=True)
        pipeline = make_pipeline(comet, StandardScaler(), LogisticRegression())
        params = {"groups": PATIENT, "patient": PATIENT, "trial": TRIAL}
        grid = {"seenpatients__heads": [None, {"trial": 0.5, "patient": 0.5}]}
        search = GridSearchCV(pipeline, grid, cv=GroupKFold(3)).fit(X, Y, **params)
        scores = cross_val_score(pipeline, X, Y, cv=GroupKFold(3), params=params, n_jobs=2)
    assert search.best_score_ > 0.8
    assert scores == pytest.approx([search.cv_results_[f"split{i}_test_score"][0] for i in range(3)])
    fitted = search.best_estimator_[0]
    assert np.array_equal(fitted.patient_, PATIENT)
    assert np.array_equal(fitted.trial_, TRIAL)
    assert {"train/patient", "train/trial"} <= set(fitted.history_)
    with sklearn.config_context(enable_metadata_routing=True), pytest.raises(ValueError, match="trial"):
        make_pipeline(tscl.COMET(**SMALL), LogisticRegression()).fit(X, Y, trial=TRIAL)


def test_columns_of_embeddings_are_named_and_frames_come_out_with_the_index_that_went_in():
    frame = pd.DataFrame(X[:, 0], columns=[f"t{i}" for i in range(30)], index=[f"w{i}" for i in range(48)])
    model = tscl.TS2Vec(**SMALL, pooling="max+mean/2").set_output(transform="pandas").fit(frame)
    embedded = model.transform(frame)
    assert embedded.columns.tolist() == [f"ts2vec{i}" for i in range(18)] == model.get_feature_names_out().tolist()
    assert embedded.index.equals(frame.index)
    assert np.array_equal(embedded.to_numpy(), model.set_output(transform="default").transform(frame))
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    windows = model.set_output(transform="pandas").transform(X[:, :1])
    assert windows.shape == (48, 18)
    with pytest.raises(DataError, match="feature names"):
        model.transform(frame.rename(columns={"t0": "other"}))


def test_tables_keep_their_number_of_times_and_windows_need_not():
    model = tscl.COMET(**SMALL).fit(X[:, 0])
    assert model.n_features_in_ == 30
    with pytest.raises(DataError, match="X has 20 features, but COMET is expecting 30 features"):
        model.transform(X[:, 0, :20])
    assert model.transform(X[:, :1, :20]).shape == (48, 6)
    assert np.array_equal(model.transform(X[:, 0].tolist()), model.transform(X[:, 0]))
    assert np.array_equal(model.transform(torch.from_numpy(X[:, 0])), model.transform(X[:, 0]))
    ragged = [X[0, 0].tolist(), X[1, 0, :12].tolist()]
    padded = np.full((2, 1, 30), np.nan)
    padded[0, 0], padded[1, 0, :12] = X[0, 0], X[1, 0, :12]
    assert np.array_equal(model.transform(ragged), model.transform(padded))
    model.fit(X)
    assert not hasattr(model, "n_features_in_")
    assert model.transform(X[..., :20]).shape == (48, 6)


def test_simclr_is_the_configuration_of_that_name():
    model = tscl.SimCLR(**{**SMALL, "max_epochs": 2}, projection=5, temperature=0.3).fit(X)
    assert {"train/sample"} <= set(model.history_)
    [head] = model._heads(None, 6)
    assert isinstance(head, ProjectionHead)
    assert (head.view, head.loss.temperature, head.project[0].in_features, head.project[2].out_features) == (
        "augmented",
        0.3,
        6,
        5,
    )
    view = model._views()["augmented"]
    assert isinstance(view, Compose)
    assert [(type(one), one.sigma) for one in view.augmenters] == [(ChannelScaling, 0.2), (Jitter, 0.05)]
    ContrastiveLearner(DilatedConvEncoder(2, 6, 4, 1), [head], {"augmented": view})
    wider = tscl.SimCLR(**SMALL, encoder=lambda channels: DilatedConvEncoder(channels, 9, 4, 1)).fit(X)
    assert wider.transform(X).shape == (48, 9)
    still = tscl.SimCLR(**SMALL, augmenter=Identity())
    assert isinstance(clone(still)._views()["augmented"], Identity)


def test_simclr_is_saved_and_opened(tmp_path):
    model = tscl.SimCLR(**SMALL).fit(X)
    again = tscl.SimCLR.from_pretrained(model.save_pretrained(tmp_path / "model"))
    assert np.array_equal(again.transform(X), model.transform(X))
    assert again.get_feature_names_out().tolist() == [f"simclr{i}" for i in range(6)]
