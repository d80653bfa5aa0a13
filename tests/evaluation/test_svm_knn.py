import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC
from torch import nn

from tscl.data.readers import from_numpy
from tscl.data.splits import Split
from tscl.errors import ConfigError, DataError
from tscl.evaluation import KNNProbe, LinearProbe, SVMProbe, classification_metrics, embed, evaluate

grid = [10.0**power for power in range(-4, 5)] + [np.inf]


def blobs(n=90, k=3, dim=4, noise=1.5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    return rng.normal(scale=noise, size=(n, dim)) + np.eye(k, dim)[y] * 2, y


def test_the_machine_is_that_of_scikit_learn_with_the_best_c_of_cross_validation():
    H, y = blobs()
    test, _ = blobs(seed=1)
    probe = SVMProbe().fit(H, y)
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(H, y, np.arange(len(y))))
    scores = [
        np.concatenate([SVC(C=C, break_ties=True).fit(H[a], y[a]).predict(H[b]) == y[b] for a, b in folds]).mean()
        for C in grid
    ]
    best = grid[int(np.argmax(scores))]
    assert best == probe.C_
    assert len(set(scores)) > 3
    plain = SVC(C=probe.C_, break_ties=True).fit(H, y)
    np.testing.assert_array_equal(probe.predict_proba(test).argmax(axis=1), plain.predict(test))


@pytest.mark.parametrize("k", [2, 4])
def test_scores_sum_to_one_and_order_as_the_decision_function(k):
    H, y = blobs(k=k)
    probe = SVMProbe(C=1.0).fit(H, y, n_classes=k + 1)
    proba = probe.predict_proba(H)
    assert proba.shape == (len(H), k + 1)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba[:, k] == 0).all()
    decision = SVC(C=1.0, break_ties=True).fit(H, y).decision_function(H)
    if k == 2:
        np.testing.assert_array_equal(np.argsort(proba[:, 1]), np.argsort(decision))
    np.testing.assert_array_equal(proba.argmax(axis=1), decision > 0 if k == 2 else decision.argmax(axis=1))


def test_few_windows_take_no_slack():
    H, y = blobs(n=49)
    assert np.isinf(SVMProbe().fit(H, y).C_)
    H, _ = blobs(n=56)
    assert np.isinf(SVMProbe().fit(H, np.arange(56) % 12).C_)
    assert SVMProbe(C=2.0).fit(H, np.arange(56) % 2).C_ == 2.0


def test_validation_windows_choose_c():
    H, y = blobs(n=40, noise=3.0)
    val = blobs(n=200, noise=3.0, seed=2)
    probe = SVMProbe().fit(H, y, validation=val)
    scores = [(SVC(C=C, break_ties=True).fit(H, y).predict(val[0]) == val[1]).mean() for C in grid]
    best = grid[int(np.argmax(scores))]
    assert best == probe.C_


def test_at_most_so_many_windows_are_trained_on_and_classes_keep_their_share():
    H, y = blobs(n=300, k=2)
    probe = SVMProbe(C=1.0, max_windows=60).fit(H, y)
    fitted = probe.pipeline_[-1].shape_fit_[0]
    assert fitted == 60
    rows = np.isin(H, probe.pipeline_[-1].support_vectors_).all(axis=1)
    assert 0 < rows.sum() <= 60
    assert SVMProbe(max_windows=60).fit(H, y, groups=np.arange(300) // 3).C_ in grid


def test_groups_stand_on_one_side_of_a_fold():
    """Windows of a group are copies: only with groups kept together is the noise not learned by heart."""
    rng = np.random.default_rng(0)
    H, y = np.repeat(rng.normal(size=(30, 5)), 4, axis=0), np.repeat(rng.integers(2, size=30), 4)
    groups = np.repeat(np.arange(30), 4)
    alone = SVMProbe().fit(H, y)
    together = SVMProbe().fit(H, y, groups=groups)
    assert alone.C_ > together.C_


def test_unusable_features_are_refused():
    with pytest.raises(DataError, match="NaN or infinity"):
        SVMProbe().fit(np.full((4, 2), np.nan), np.arange(4) % 2)
    with pytest.raises(DataError, match="needs two classes"):
        SVMProbe().fit(np.zeros((4, 2)), np.zeros(4, int))


def test_the_nearest_neighbour_is_that_of_standardised_embeddings():
    H, y = blobs()
    test, _ = blobs(seed=1)
    scale = np.array([1.0, 100.0, 0.01, 1.0])
    found = KNNProbe(1, metric="euclidean").fit(H * scale, y).predict_proba(test * scale)
    spread = H.std(axis=0)
    distance = np.linalg.norm((test[:, None] - H[None]) / spread, axis=2)
    np.testing.assert_array_equal(found, np.eye(3)[y[distance.argmin(axis=1)]])
    with pytest.raises(ConfigError, match="cosine or euclidean"):
        KNNProbe(metric="manhattan")


class Means(nn.Module):
    """The channels themselves as embeddings."""

    dim = 4

    def forward(self, x, mask=None, sensors=None):
        return x


@pytest.fixture(scope="module")
def split():
    H, y = blobs(n=160)
    data = from_numpy(np.repeat(H[:, :, None], 6, axis=2), {"series": np.arange(160)}, y)
    return Split(data.select(np.arange(100)), None, data.select(np.arange(100, 160)), by="series")


@pytest.mark.parametrize(
    ("method", "probe"),
    [("svm", SVMProbe()), ("knn", KNNProbe(1, metric="euclidean")), ("probe", LinearProbe())],
)
def test_evaluate_fits_the_classifier_on_the_embeddings(split, method, probe):
    found = evaluate(Means(), split, methods=(method,), label_fractions=(1.0,), seeds=(0,), n_resamples=5)
    H = [embed(Means(), side) for side in (split.train, split.test)]
    expected = classification_metrics(split.test.y, probe.fit(H[0], split.train.y).predict_proba(H[1]), 3)
    rows = found.table[found.table["unit"] == "window"].set_index("metric")["value"]
    assert rows.to_dict() == pytest.approx(expected)
    assert 0.5 < expected["accuracy"] < 1


def test_evaluate_takes_a_part_of_the_labels_and_several_methods(split):
    torch.manual_seed(0)
    found = evaluate(
        Means(), split, methods=("svm", "knn"), label_fractions=(1.0, 0.2), fraction_by="window", seeds=(0,),
        n_resamples=5,
    )  # fmt: skip
    cells = found.table.query("unit == 'window' and metric == 'accuracy'").set_index(["method", "fraction"])["value"]
    assert len(cells) == 4
    assert cells[("knn", 1.0)] != cells[("knn", 0.2)]
