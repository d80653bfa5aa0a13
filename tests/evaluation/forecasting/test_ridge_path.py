import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tscl.errors import ConfigError, DataError
from tscl.evaluation import RidgePath
from tscl.evaluation.forecasting import ALPHAS, ridge


def problem(n, p, q, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.uniform(0.1, 5, size=p) + rng.normal(size=p) * 3
    Y = X @ rng.normal(size=(p, q)) * 0.3 + rng.normal(size=(n, q)) + 7
    return X.astype(dtype), Y.astype(dtype)


def score(truth, forecast):
    return np.sqrt(((truth - forecast) ** 2).mean()) + np.abs(truth - forecast).mean()


@pytest.mark.parametrize(("n", "p"), [(60, 7), (9, 30), (12, 12)])
def test_every_penalty_gives_what_a_refit_of_scikit_learn_gives(n, p):
    X, Y = problem(n, p, 5)
    new, new_Y = problem(25, p, 5, seed=1)
    path = RidgePath().fit(X, Y, new, new_Y)
    assert list(path.scores_) == list(ALPHAS)
    brute = {}
    for alpha in ALPHAS:
        reference = Ridge(alpha=alpha).fit(X, Y)
        weights, intercept = path.coefficients(alpha)
        np.testing.assert_allclose(weights, reference.coef_.T, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(intercept, reference.intercept_, rtol=1e-8)
        np.testing.assert_allclose(path.predict(new, alpha), reference.predict(new), rtol=1e-8)
        brute[alpha] = score(new_Y, reference.predict(new))
    np.testing.assert_allclose(list(path.scores_.values()), list(brute.values()), rtol=1e-9)
    assert path.alpha_ == min(brute, key=brute.get)
    np.testing.assert_array_equal(path.predict(new), path.predict(new, path.alpha_))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.floats(0.05, 500), st.booleans())
def test_any_shape_agrees_with_scikit_learn(n, p, q, alpha, standardise):
    X, Y = problem(n, p, q, seed=n * 100 + p)
    if p > 1:
        X[:, 0] = 2.5
    path = RidgePath(standardise=standardise).fit(X, Y, alphas=[alpha])
    scaler = StandardScaler(with_std=standardise).fit(X)
    reference = Ridge(alpha=alpha).fit(scaler.transform(X), Y)
    expected = reference.predict(scaler.transform(X + 1)).reshape(n, q)
    np.testing.assert_allclose(path.predict(X + 1), expected, rtol=1e-6, atol=1e-7)
    weights, intercept = path.coefficients()
    np.testing.assert_allclose((X + 1) @ weights + intercept, expected, rtol=1e-6, atol=1e-7)
    assert (path.alpha_, path.scores_) == (alpha, {})


@pytest.mark.parametrize("small", [False, True])
def test_the_choice_follows_the_data(small):
    """Little noise asks for little shrinkage, noise alone for much."""
    X, Y = problem(40, 10, 3)
    noise = np.random.default_rng(5).normal(size=(80, 3))
    X_val, Y_val = X[20:], Y[20:]
    if small:
        Y = X @ np.ones((10, 3))
        Y_val = Y[20:]
    else:
        Y, Y_val = noise[:40], noise[40:60]
    assert RidgePath().fit(X[:20], Y[:20], X_val, Y_val).alpha_ == (ALPHAS[0] if small else ALPHAS[-1])


def test_targets_are_read_in_blocks_of_columns(monkeypatch):
    X, Y = problem(20, 4, 11)
    whole = RidgePath().fit(X, Y, X[:5], Y[:5])
    asked = []

    class Lazy:
        def __init__(self, table):
            self.table, self.shape = table, table.shape

        def __getitem__(self, key):
            asked.append((len(self.table), key[1]))
            return self.table[key]

    monkeypatch.setattr(ridge, "CELLS", 60)
    blocks = RidgePath().fit(X, Lazy(Y), X[:5], Lazy(Y[:5]))
    expected = [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 11)]
    assert asked == [(rows, block) for rows in (20, 5) for block in expected]
    assert blocks.scores_ == pytest.approx(whole.scores_, rel=1e-12)
    np.testing.assert_allclose(blocks.predict(X), whole.predict(X), rtol=1e-12)


def test_single_precision_input_is_computed_in_double():
    X, Y = problem(50, 5, 2, dtype=np.float32)
    path = RidgePath().fit(X, Y, alphas=[0.1])
    expected = Ridge(alpha=0.1).fit(X.astype(np.float64), Y.astype(np.float64)).predict(X.astype(np.float64))
    assert path.predict(X).dtype == np.float64
    np.testing.assert_allclose(path.predict(X), expected, rtol=1e-9)


def test_a_row_with_a_missing_feature_has_no_prediction():
    X, Y = problem(20, 3, 2)
    new = X[:2].copy()
    new[1, 1] = np.nan
    found = RidgePath().fit(X, Y, alphas=[1.0]).predict(new)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_what_cannot_be_fitted_is_refused():
    X, Y = problem(10, 3, 2)
    holes = np.where(np.arange(10)[:, None] == 4, np.nan, X)
    for arguments, error, said in [
        ((X, Y), ConfigError, "no validation rows"),
        ((X, Y[:4], X, Y), DataError, "targets of shape (4, 2)"),
        ((X[0], Y, X, Y), DataError, "features of shape (3,)"),
        ((X[:0], Y[:0], X, Y), DataError, "no training row"),
        ((X, Y, X[:0], Y[:0]), DataError, "no validation row"),
        ((holes, Y, X, Y), DataError, "training features are not finite"),
        ((X, holes[:, :2], X, Y), DataError, "training targets are not finite"),
        ((X, Y, X, holes[:, :2]), DataError, "validation targets are not finite"),
    ]:
        with pytest.raises(error) as caught:
            RidgePath().fit(*arguments)
        assert said in str(caught.value)
    for alphas in ([], [0.0], [1.0, -2.0], [np.inf], [np.nan]):
        with pytest.raises(ConfigError, match="above 0"):
            RidgePath().fit(X, Y, X, Y, alphas=alphas)
