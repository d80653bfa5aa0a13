import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state

import tscl
from tscl.errors import DataError
from tscl.estimators.inputs import as_windows
from tscl.evaluation import RegressionFineTuner

TUNE = {"max_epochs": 15, "lr": 1e-2, "batch_size": 32, "accelerator": "cpu", "random_state": 0}
SEED = int(check_random_state(0).randint(2**31 - 1))


def cohort(seed):
    """The older a patient, the stronger the oscillation."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(20), 6)
    age = np.repeat(rng.uniform(20, 80, 20), 6)
    wave = np.sin(2 * np.pi * np.arange(40) / 8 + rng.uniform(0, 6, (120, 1, 1)))
    return (rng.normal(size=(120, 2, 40)) * 0.3 + age[:, None, None] / 20 * wave).astype("float32"), age, patient


X, AGE, PATIENT = cohort(0)
TEST, AGE_TEST, _ = cohort(1)


@pytest.fixture(scope="module")
def pretrained():
    return tscl.TS2Vec(
        dim=8, hidden=6, depth=2, max_epochs=1, batch_size=32, accelerator="cpu", random_state=0, pooling="max+mean"
    ).fit(X)


@pytest.fixture(scope="module")
def fitted(pretrained):
    return tscl.ContrastiveRegressor(pretrained, **TUNE).fit(X, AGE, patient=PATIENT)


def test_ages_of_new_patients_are_predicted(fitted):
    predicted = fitted.predict(TEST)
    assert predicted.shape == (120,)
    assert fitted.score(TEST, AGE_TEST) == pytest.approx(r2_score(AGE_TEST, predicted))
    assert fitted.score(TEST, AGE_TEST) > 0.7
    assert len(fitted.validation_patients_) == 4
    assert len(set(np.searchsorted(np.quantile(AGE, [0.25, 0.5, 0.75]), AGE[fitted.validation_patients_ * 6]))) == 4


def test_it_is_a_finetuner_stopped_by_the_error_of_validation_patients(pretrained, fitted):
    data = as_windows(X, AGE, PATIENT)
    aside = np.isin(PATIENT, fitted.validation_patients_)
    train, val = data.select(~aside), data.select(aside)
    same = {name: TUNE[name] for name in ("max_epochs", "lr", "batch_size", "accelerator")}
    tuner = RegressionFineTuner(pretrained.encoder_, seed=SEED, pooling="max+mean", **same).fit(train, val)
    np.testing.assert_array_equal(tuner.predict(as_windows(TEST)), fitted.predict(TEST))
    assert (tuner.mean_, tuner.scale_) == pytest.approx((AGE[~aside].mean(), AGE[~aside].std()))
    losses = [row["val_loss"] for row in tuner.history_]
    assert tuner.best_epoch_ == int(np.argmin(losses))
    error = np.square(fitted.predict(X[aside]) - AGE[aside]).mean() / tuner.scale_**2
    assert error == pytest.approx(min(losses), rel=1e-4)


def test_the_unit_of_the_labels_does_not_matter(pretrained, fitted):
    days = clone(fitted).set_params(estimator=pretrained).fit(X, 365 * AGE - 1000, patient=PATIENT)
    np.testing.assert_allclose(days.predict(TEST), 365 * fitted.predict(TEST) - 1000, rtol=1e-3)


def test_windows_without_a_label_and_few_labels(pretrained):
    partly = np.where(np.arange(120) % 6 < 2, np.nan, AGE)
    known = ~np.isnan(partly)
    first = tscl.ContrastiveRegressor(pretrained, **TUNE).fit(X, partly, patient=PATIENT)
    second = tscl.ContrastiveRegressor(pretrained, **TUNE).fit(X[known], AGE[known], patient=PATIENT[known])
    np.testing.assert_array_equal(first.predict(TEST), second.predict(TEST))
    few = tscl.ContrastiveRegressor(pretrained, **{**TUNE, "max_epochs": 1}, label_fraction=0.3)
    few.fit(X, AGE, patient=PATIENT)
    kept = [AGE[one == PATIENT][0] for one in np.unique(PATIENT)]
    assert few.finetuner_.mean_ != pytest.approx(np.mean(kept))
    constant = tscl.ContrastiveRegressor(pretrained, **{**TUNE, "max_epochs": 1}).fit(X, np.full(120, 3.0))
    assert np.isfinite(constant.predict(TEST)).all()


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.where(np.arange(120) == 3, np.inf, AGE), "y has infinite values for 1 windows"),
        (np.full(120, np.nan), r"too few windows have a label \(n_samples = 0\)"),
        (np.full(120, "old"), "Unable to parse string"),
        (None, "requires y to be passed"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(pretrained, y, said):
    with pytest.raises(DataError, match=said):
        tscl.ContrastiveRegressor(pretrained, **TUNE).fit(X, y, patient=PATIENT)


def test_save_and_load(fitted, tmp_path):
    folder = fitted.save_pretrained(tmp_path / "model")
    again = tscl.ContrastiveRegressor.from_pretrained(folder)
    np.testing.assert_array_equal(again.predict(TEST), fitted.predict(TEST))
    assert again.history_.equals(fitted.history_)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "head.safetensors",
        "config.json",
        "README.md",
        "pretrained",
    }
