import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.utils import check_random_state

import tscl
from tscl.data import holdout, label_fraction
from tscl.encoders import Encoder
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.estimators.calibration import Calibration
from tscl.estimators.inputs import as_windows
from tscl.evaluation import FineTuner

PRETRAIN = {"dim": 8, "hidden": 6, "depth": 2, "max_epochs": 1, "batch_size": 32, "accelerator": "cpu"}
TUNE = {"max_epochs": 8, "lr": 1e-2, "batch_size": 32, "accelerator": "cpu", "random_state": 0}


def cohort(n_patients=12, per_patient=8, seed=0, classes=("well", "sick")):
    """Patients of the second class oscillate."""
    rng = np.random.default_rng(seed)
    patient = np.repeat([f"P{i}" for i in range(n_patients)], per_patient)
    kind = np.repeat(np.arange(n_patients) % len(classes), per_patient)
    wave = np.sin(2 * np.pi * np.arange(40) / 8 + rng.uniform(0, 6, (len(kind), 1, 1)))
    x = rng.normal(size=(len(kind), 2, 40)) + 2 * kind[:, None, None] * wave
    return x.astype("float32"), np.array(classes)[kind], patient


X, Y, PATIENT = cohort()
TEST, Y_TEST, _ = cohort(seed=1)


@pytest.fixture(scope="module")
def pretrained():
    return tscl.TS2Vec(**PRETRAIN, random_state=0).fit(X)


@pytest.fixture(scope="module")
def fitted(pretrained):
    return tscl.ContrastiveClassifier(pretrained, **TUNE).fit(X, Y, patient=PATIENT)


def split_of(model, X=X, Y=Y, patient=PATIENT):
    """The training and the validation windows by the validation patients that the model names."""
    data = as_windows(X, Y, patient)
    aside = np.isin(patient, model.validation_patients_)
    return data.select(~aside), data.select(aside)


SEED = int(check_random_state(0).randint(2**31 - 1))
SAME = {"seed": SEED, "max_epochs": 8, "lr": 1e-2, "batch_size": 32, "accelerator": "cpu"}


def test_it_is_a_finetuner_on_the_patients_that_were_not_set_aside(pretrained, fitted):
    assert fitted.classes_.tolist() == ["sick", "well"]
    assert len(fitted.validation_patients_) == 2
    train, val = split_of(fitted)
    assert set(Y[np.isin(PATIENT, fitted.validation_patients_)]) == {"sick", "well"}
    tuner = FineTuner(pretrained.encoder_, 2, **SAME).fit(train, val)
    proba = fitted.predict_proba(TEST)
    np.testing.assert_array_equal(proba, tuner.predict_proba(as_windows(TEST)))
    assert fitted.history_.to_dict("records") == tuner.history_
    assert "val_f1" in fitted.history_
    assert np.array_equal(fitted.predict(TEST), fitted.classes_[proba.argmax(1)])
    assert fitted.score(TEST, Y_TEST) > 0.8
    assert np.array_equal(fitted.estimator_.transform(X), pretrained.transform(X))


def test_a_share_of_the_training_patients_keeps_its_labels(pretrained, fitted):
    some = clone(fitted).set_params(label_fraction=0.4, estimator=pretrained).fit(X, Y, patient=PATIENT)
    assert set(some.validation_patients_) == set(fitted.validation_patients_)
    train, val = split_of(some)
    used = label_fraction(train, 0.4, seed=SEED)
    assert used.metadata["patient"].nunique() == 4
    tuner = FineTuner(pretrained.encoder_, 2, **SAME).fit(used, val)
    np.testing.assert_array_equal(some.predict_proba(TEST), tuner.predict_proba(as_windows(TEST)))


def test_windows_without_a_label_count_in_pretraining_only(pretrained):
    partly = np.where(np.arange(96) % 8 < 3, None, Y)
    known = np.array([one is not None for one in partly])
    frozen = tscl.ContrastiveClassifier(pretrained, **TUNE)
    all_windows, labelled = clone(frozen), clone(frozen)
    for model in (all_windows, labelled):
        model.estimator = pretrained
    all_windows.fit(X, partly, patient=PATIENT)
    labelled.fit(X[known], Y[known], patient=PATIENT[known])
    np.testing.assert_array_equal(all_windows.predict_proba(TEST), labelled.predict_proba(TEST))
    numbers = np.where(known, Y == "sick", np.nan)
    trained = tscl.ContrastiveClassifier(tscl.TS2Vec(**PRETRAIN), **TUNE).fit(X, numbers, patient=PATIENT)
    assert trained.classes_.tolist() == [0.0, 1.0]
    alone = tscl.TS2Vec(**PRETRAIN, random_state=SEED).fit(X, patient=PATIENT)
    np.testing.assert_array_equal(trained.estimator_.transform(X), alone.transform(X))


def test_pretraining_sees_every_window_and_the_ids_but_no_label():
    trial = np.tile(np.repeat([0, 1], 4), 12)
    comet = tscl.COMET(**PRETRAIN, random_state=3)
    ids = {"patient": PATIENT, "trial": trial}
    model = tscl.ContrastiveClassifier(comet, **{**TUNE, "max_epochs": 1}).fit(X, Y, **ids)
    assert {"train/patient", "train/trial"} <= set(model.estimator_.history_)
    np.testing.assert_array_equal(model.estimator_.transform(X), clone(comet).fit(X, **ids).transform(X))
    assert not hasattr(comet, "encoder_")


def test_a_clone_forgets_what_was_fitted_unless_it_is_frozen(pretrained, fitted):
    assert not hasattr(clone(fitted).estimator, "encoder_")
    frozen = clone(tscl.ContrastiveClassifier(FrozenEstimator(pretrained), **TUNE)).fit(X, Y, patient=PATIENT)
    np.testing.assert_array_equal(frozen.predict_proba(TEST), fitted.predict_proba(TEST))
    head_only = tscl.ContrastiveClassifier(pretrained, **TUNE, freeze=True).fit(X, Y, patient=PATIENT)
    before, after = pretrained.encoder_.state_dict(), head_only.finetuner_.module_.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(NotFittedError):
        tscl.ContrastiveClassifier(FrozenEstimator(tscl.TS2Vec()), **TUNE).fit(X, Y)


def test_data_sets_bring_labels_and_ids_and_no_ids_mean_windows(pretrained, fitted):
    data = as_windows(X, Y, PATIENT)
    same = tscl.ContrastiveClassifier(pretrained, **TUNE).fit(data)
    np.testing.assert_array_equal(same.predict_proba(as_windows(TEST)), fitted.predict_proba(TEST))
    other = tscl.ContrastiveClassifier(pretrained, **TUNE).fit(data, np.where(Y == "sick", 1, 0))
    np.testing.assert_allclose(other.predict_proba(TEST)[:, ::-1].sum(1), 1)
    assert other.classes_.tolist() == [0, 1]
    loose = tscl.ContrastiveClassifier(pretrained, **{**TUNE, "max_epochs": 1}).fit(X, Y)
    assert len(loose.validation_patients_) == round(0.2 * 96)
    assert loose.validation_patients_.max() < 96
    by_site = tscl.ContrastiveClassifier(pretrained, **{**TUNE, "max_epochs": 1}, validation=0.5)
    by_site.fit(X, Y, levels={"site": np.tile([0, 1], 48)})
    assert len(by_site.validation_patients_) == 1
    none = tscl.ContrastiveClassifier(pretrained, **{**TUNE, "max_epochs": 2}, validation=0).fit(X, Y)
    assert none.validation_patients_ is None
    assert "val_loss" not in none.history_
    assert len(none.history_) == 2


def test_class_weights_go_by_class(pretrained):
    fit = {"X": X, "y": Y, "patient": PATIENT}
    heavy = tscl.ContrastiveClassifier(
        pretrained, **{**TUNE, "max_epochs": 2}, validation=0, class_weight={"well": 1000}
    )
    assert (heavy.fit(**fit).predict(TEST) == "well").mean() > 0.9
    assert heavy.finetuner_.class_weight == [1.0, 1000.0]
    with pytest.raises(ConfigError, match="class_weight does not fit the classes"):
        heavy.set_params(class_weight={"ill": 2}).fit(**fit)


def test_grid_search_by_patient_and_parallel_cross_validation(pretrained):
    with sklearn.config_context(enable_metadata_routing=True):
        model = tscl.ContrastiveClassifier(FrozenEstimator(pretrained), **TUNE).set_fit_request(patient=True)
        params = {"groups": PATIENT, "patient": PATIENT}
        search = GridSearchCV(model, {"freeze": [True, False]}, cv=GroupKFold(3)).fit(X, Y, **params)
        scores = cross_val_score(model, X, Y, cv=GroupKFold(3), params=params, n_jobs=2)
    assert search.best_score_ > 0.7
    assert scores == pytest.approx([search.cv_results_[f"split{i}_test_score"][1] for i in range(3)])


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
def test_probabilities_are_calibrated_on_the_validation_patients(pretrained, fitted, method):
    model = clone(fitted).set_params(calibration=method, estimator=pretrained).fit(X, Y, patient=PATIENT)
    train, val = split_of(model)
    logits = model.finetuner_.outputs(val)
    np.testing.assert_array_equal(logits, fitted.finetuner_.outputs(val))
    proba = model.predict_proba(val.numpy())
    np.testing.assert_allclose(proba.sum(1), 1)
    truth = val.metadata["y"]
    plain = log_loss(truth, fitted.predict_proba(val.numpy()), labels=model.classes_)
    if method != "sigmoid":  # Platt's targets keep it from being sure of 16 windows
        assert log_loss(truth, proba, labels=model.classes_) < plain + 1e-9
    order = np.argsort(logits[:, 1] - logits[:, 0])
    assert (np.diff(proba[order, 1]) >= -1e-9).all()


def test_a_temperature_that_is_known_is_found():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20000, 3)) * 2
    y = np.array([rng.choice(3, p=p) for p in softmax(true, axis=1)])
    found = Calibration("temperature", 4 * true, y, np.arange(3))
    assert found.model.temperature_ == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(found.predict_proba(4 * true), softmax(true, axis=1), atol=0.02)
    for method in ("sigmoid", "isotonic"):
        proba = Calibration(method, 4 * true, y, np.arange(3)).predict_proba(4 * true)
        assert log_loss(y, proba) < log_loss(y, softmax(4 * true, axis=1)) - 0.1
    with pytest.raises(DataError, match="no validation window has class 'b'"):
        Calibration("sigmoid", true[:9, :2], np.zeros(9, int), np.array(["a", "b"]))


def test_sigmoid_equals_platts_on_the_log_odds():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 2)) * 3
    y = (rng.random(4000) < 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0]) / 2 - 0.5))).astype(int)
    odds = (logits[:, 1] - logits[:, 0])[:, None]
    expected = LogisticRegression(C=1e6).fit(odds, y).predict_proba(odds)
    found = Calibration("sigmoid", logits, y, np.arange(2)).predict_proba(logits)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_the_validation_patients_are_those_of_holdout(fitted):
    data = as_windows(X, Y, PATIENT)
    expected = holdout(data, val=0.2, test=0, seed=SEED).val.metadata["patient"].unique()
    assert fitted.validation_patients_.tolist() == expected.tolist()


REFUSED = {
    "one patient": ({"patient": np.zeros(96)}, {}, DataError, "all labelled windows are of one patient .*validation=0"),
    "one class": ({"y": np.zeros(96)}, {}, DataError, "96 labelled training windows have class 0.0|needs two classes"),
    "no label": ({"y": np.full(96, None)}, {}, DataError, r"too few windows have a label \(n_samples = 0\)"),
    "no y": ({"y": None}, {}, DataError, "requires y to be passed, but the target y is None"),
    "numbers": ({"y": np.linspace(0, 1, 96)}, {}, DataError, "Unknown label type"),
    "short y": ({"y": Y[:5]}, {}, DataError, r"y has shape \(5,\) for 96 windows"),
    "calibration": ({}, {"calibration": "platt"}, ConfigError, "calibration is 'platt': choose one of"),
    "nothing to calibrate on": ({}, {"calibration": "sigmoid", "validation": 0}, ConfigError, "needs validation pati"),
    "share": ({}, {"validation": 1.0}, ConfigError, "validation is 1: give a share"),
    "fraction": ({}, {"label_fraction": 0}, ConfigError, "label fraction is 0"),
    "other estimator": ({}, {"estimator": LogisticRegression()}, ConfigError, "estimator is a LogisticRegression"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_before_anything_is_trained(pretrained, case):
    given, params, kind, said = REFUSED[case]
    model = tscl.ContrastiveClassifier(**{"estimator": pretrained, **TUNE, **params})
    with pytest.raises(kind, match=said) as caught:
        model.fit(**{"X": X, "y": Y, "patient": PATIENT, **given})
    assert "\n" not in str(caught.value)
    assert not hasattr(model, "finetuner_")


def test_other_channels_are_refused(fitted):
    with pytest.raises(DataError, match="X has 1 channels, the model was fitted on 2"):
        fitted.predict(X[:, :1])
    with pytest.raises(NotFittedError):
        tscl.ContrastiveClassifier().predict(X)


@pytest.mark.parametrize("method", [None, "temperature", "isotonic"])
def test_save_and_load(pretrained, tmp_path, method):
    model = tscl.ContrastiveClassifier(pretrained, **TUNE, calibration=method, pooling="mean")
    model.fit(X, Y, patient=PATIENT)
    folder = model.save_pretrained(tmp_path / "model")
    again = tscl.ContrastiveClassifier.from_pretrained(folder)
    np.testing.assert_array_equal(again.predict_proba(TEST), model.predict_proba(TEST))
    assert np.array_equal(again.predict(TEST), model.predict(TEST))
    assert again.history_.equals(model.history_)
    assert again.get_params()["lr"] == 1e-2
    np.testing.assert_array_equal(again.estimator_.transform(X), pretrained.transform(X))
    assert torch.equal(Encoder.from_pretrained(folder)(torch.from_numpy(X)), model.encoder_(torch.from_numpy(X)))
    text = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".md"))
    assert [one for one in set(PATIENT) if f'"{one}"' in text] == []
    with pytest.raises(DataError, match="holds a ContrastiveClassifier, not a ContrastiveRegressor"):
        tscl.ContrastiveRegressor.from_pretrained(folder)
    with pytest.raises(DataError, match="exists already"):
        model.save_pretrained(folder)
    if method is not None:
        (folder / "calibration.npz").write_bytes(b"PK")
        with pytest.raises(DataError, match=r"calibration\.npz is missing or damaged"):
            tscl.ContrastiveClassifier.from_pretrained(folder)
    (folder / "head.safetensors").unlink()
    with pytest.raises((DataError, DataNotFoundError), match="head.safetensors|calibration"):
        tscl.ContrastiveClassifier.from_pretrained(folder)


def test_a_table_keeps_its_columns_in_the_folder(tmp_path):
    frame = pd.DataFrame(X[:, 0], columns=[f"t{i}" for i in range(40)])
    model = tscl.ContrastiveClassifier(tscl.TS2Vec(**PRETRAIN), **{**TUNE, "max_epochs": 1}).fit(frame, Y)
    again = tscl.ContrastiveClassifier.from_pretrained(model.save_pretrained(tmp_path / "model"))
    assert np.array_equal(again.predict(frame), model.predict(frame))
    with pytest.raises(DataError, match="feature names"):
        again.predict(frame.rename(columns={"t0": "other"}))


def test_what_was_fine_tuned_from_a_class_of_someone_elses_is_not_opened(tmp_path):
    class Own(tscl.TS2Vec):
        pass

    model = tscl.ContrastiveClassifier(Own(**PRETRAIN), **{**TUNE, "max_epochs": 1}).fit(X, Y)
    with pytest.raises(DataError, match="was fine-tuned from a Own, which tscl does not have"):
        tscl.ContrastiveClassifier.from_pretrained(model.save_pretrained(tmp_path / "model"))
