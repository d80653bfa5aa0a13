import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tscl import COMET, TS2Vec
from tscl.data.readers import from_sktime
from tscl.encoders import DilatedConvEncoder, Encoder
from tscl.errors import ConfigError, DataError
from tscl.estimators.sktime import EmbeddingClassifier, PanelEmbedder, SeriesEmbedder
from tscl.estimators.sktime.frames import cut_windows, whole_series

SMALL = {"dim": 6, "hidden": 4, "depth": 2, "max_epochs": 2, "batch_size": 16, "random_state": 0, "accelerator": "cpu"}
ABLE = {**SMALL, "dim": 16, "hidden": 8, "max_epochs": 10}
ADAPTERS = (EmbeddingClassifier, PanelEmbedder, SeriesEmbedder)
X = np.random.default_rng(0).normal(size=(24, 2, 20)).astype("float32")
PATIENT = np.repeat(["p1", "p2", "p3"], 8)
TRIAL = np.tile(np.repeat([0, 1], 4), 3)
WINDOW = np.tile(np.arange(4), 6)


def frame(signals, lengths=None, **ids):
    """A panel or hierarchical frame, a column a channel, from signals (n, C, T) and an id of every series."""
    parts = []
    for row, one in enumerate(signals):
        length = one.shape[1] if lengths is None else lengths[row]
        part = pd.DataFrame(one[:, :length].T, columns=[f"ch{i}" for i in range(len(one))])
        part.index = pd.MultiIndex.from_tuples(
            [(*(values[row] for values in ids.values()), t) for t in range(length)], names=[*ids, "time"]
        )
        parts.append(part)
    return pd.concat(parts)


@pytest.fixture(scope="module")
def embedder():
    return PanelEmbedder(TS2Vec(**SMALL)).fit(X)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_checks_of_sktime_pass(adapter):
    from sktime.utils.estimator_checks import check_estimator

    results = check_estimator(adapter, raise_exceptions=True, verbose=False)
    assert len(results) > 200
    assert set(results.values()) == {"PASSED"}


def test_sktime_finds_them_and_knows_what_they_are():
    from skbase.lookup import all_objects
    from sktime.registry import scitype
    from sktime.transformations.base import BaseTransformer

    found = all_objects(package_name="tscl.estimators.sktime", return_names=False, suppress_import_stdout=False)
    assert set(found) == set(ADAPTERS)
    transformers = all_objects(object_types=BaseTransformer, package_name="tscl.estimators.sktime", return_names=False)
    assert set(transformers) == {PanelEmbedder, SeriesEmbedder}
    assert scitype(EmbeddingClassifier) == "classifier"
    assert scitype(PanelEmbedder) == scitype(SeriesEmbedder) == "transformer"
    for adapter in ADAPTERS:
        instance = adapter.create_test_instance()
        assert instance.get_tag("capability:missing_values")
        assert instance.get_tag("capability:unequal_length")
        assert not instance.is_fitted


def test_sktime_is_imported_by_those_who_ask_for_it_only():
    code = "import sys, tscl.estimators; tscl.estimators.sktime, tscl.estimators.COMET; print('sktime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_hierarchical_frame_feeds_the_levels_of_comet():
    settings = {**SMALL, "windows_per_trial": 2, "trials_per_patient": 2}
    hierarchical = PanelEmbedder(COMET(**settings)).fit(frame(X, patient=PATIENT, trial=TRIAL, window=WINDOW))
    direct = COMET(**settings).fit(X, patient=PATIENT, trial=TRIAL)
    heads = {"train/observation", "train/sample", "train/patient", "train/trial"}
    assert heads <= set(hierarchical.estimator_.history_)
    assert "train/window" not in hierarchical.estimator_.history_
    pd.testing.assert_frame_equal(hierarchical.estimator_.history_, direct.history_)
    table = hierarchical.transform(frame(X, patient=PATIENT, trial=TRIAL, window=WINDOW))
    np.testing.assert_array_equal(table, direct.transform(X))
    assert table.index.names == ["patient", "trial", "window"]
    assert table.index.tolist() == list(zip(PATIENT, TRIAL, WINDOW, strict=True))
    assert table.columns[0] == "embedding_000"


def test_which_index_levels_are_id_levels():
    person = [f"{patient}{trial}" for patient, trial in zip(PATIENT, TRIAL, strict=True)]
    trial = np.arange(24)
    assert whole_series(frame(X, site=PATIENT, person=person, window=WINDOW)).levels == ("site", "person")
    assert whole_series(frame(X, patient=PATIENT, trial=trial)).levels == ("patient", "trial")
    assert whole_series(frame(X, instance=trial)).levels == ()
    assert whole_series(X).levels == ()
    assert cut_windows(frame(X, patient=PATIENT, recording=trial), 5).levels == ("patient", "recording")
    assert cut_windows(pd.DataFrame(X[0].T), 5).levels == ()


@pytest.mark.parametrize("mtype", ["pd-multiindex", "df-list", "nested_univ"])
def test_every_kind_of_panel_means_the_same(embedder, mtype):
    from sktime.datatypes import convert_to

    expected = embedder.estimator_.transform(X)
    np.testing.assert_array_equal(embedder.transform(X), expected)
    np.testing.assert_allclose(embedder.transform(convert_to(X, mtype)), expected, rtol=1e-5, atol=1e-6)


def test_an_embedding_does_not_depend_on_the_rest_of_the_panel():
    lengths = [20 - row % 3 * 4 for row in range(len(X))]
    signals = X.copy()
    signals[3, 0, 5:9] = np.nan
    signals[4] = np.nan
    panel = frame(signals, lengths, instance=np.arange(24))
    embedder = PanelEmbedder(TS2Vec(**SMALL)).fit(panel)
    table = embedder.transform(panel)
    assert np.isfinite(table.to_numpy()).all()
    for row in (0, 1, 2, 3):
        alone = embedder.transform(panel.loc[[row]])
        np.testing.assert_allclose(alone, table.loc[[row]], rtol=1e-4, atol=1e-6)
        direct = embedder.estimator_.transform(signals[[row], :, : lengths[row]])
        np.testing.assert_allclose(alone, direct, rtol=1e-5, atol=1e-7)
    steps = SeriesEmbedder(FrozenEstimator(embedder.estimator_)).fit(panel).transform(panel)
    assert np.isfinite(steps.to_numpy()).all()
    for row in (0, 1, 2, 3):
        direct = embedder.estimator_.encode(signals[[row], :, : lengths[row]])[0].T
        np.testing.assert_allclose(steps.loc[row], direct, rtol=1e-4, atol=1e-6)


def test_rows_of_series_may_alternate(embedder):
    panel = frame(X[:3], instance=["b", "a", "c"])
    mixed = panel.sort_index(level="time", kind="stable")
    assert mixed.index[1][0] != mixed.index[0][0]
    pd.testing.assert_frame_equal(embedder.transform(mixed).sort_index(), embedder.transform(panel).sort_index())
    steps = SeriesEmbedder(FrozenEstimator(embedder.estimator_)).fit(panel)
    pd.testing.assert_frame_equal(steps.transform(mixed).loc[panel.index], steps.transform(panel))


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4), window=st.integers(2, 40))
def test_windows_cover_every_step_and_nothing_else(lengths, window):
    steps = np.arange(30.0)
    signals = np.stack([steps + 100 * row for row in range(len(lengths))])[:, None]
    data = cut_windows(frame(signals, lengths, recording=np.arange(len(lengths))), window)
    assert data.shape[2] == min(window, max(lengths))
    seen = []
    for values, recording in zip(data.numpy()[:, 0], data.metadata["recording"], strict=True):
        values = values[~np.isnan(values)]
        assert set(values // 100) == {float(recording)}
        np.testing.assert_array_equal(np.diff(values), 1)
        assert len(values) == min(window, lengths[int(recording)])
        seen += values.tolist()
    assert set(seen) == {100.0 * row + step for row, length in enumerate(lengths) for step in range(length)}
    assert len(data) == sum(-(-length // window) for length in lengths)


def test_windows_without_a_value_are_left_out():
    series = pd.DataFrame({"a": np.r_[np.full(10, np.nan), np.arange(10.0)]})
    assert len(cut_windows(series, 5)) == 2
    with pytest.raises(DataError, match="holds missing values only"):
        SeriesEmbedder(TS2Vec(**SMALL)).fit(series * np.nan)


def test_a_series_keeps_its_index():
    index = pd.period_range("2020-01", periods=50, freq="M")
    series = pd.Series(np.sin(np.arange(50.0)), index=index)
    embedder = SeriesEmbedder(TS2Vec(**SMALL), window_length=16)
    steps = embedder.fit_transform(series)
    assert isinstance(steps, pd.DataFrame)
    assert steps.index.equals(index)
    assert steps.shape == (50, 6)
    signals = series.to_numpy(dtype="float32")[None, None]
    windows = np.stack([signals[0, :, start : start + 16] for start in (0, 16, 32, 34)])
    np.testing.assert_array_equal(steps, TS2Vec(**SMALL).fit(windows).encode(signals)[0].T)
    as_array = embedder.transform(series.to_numpy())
    np.testing.assert_array_equal(as_array, steps)


def test_windows_of_a_series_share_its_ids():
    panel = frame(X, patient=PATIENT, recording=np.arange(24))
    embedder = SeriesEmbedder(COMET(**SMALL, windows_per_trial=2), window_length=7).fit(panel)
    assert {"train/patient", "train/recording"} <= set(embedder.estimator_.history_)
    steps = embedder.transform(panel)
    assert steps.index.equals(panel.index)
    np.testing.assert_allclose(
        steps.to_numpy().reshape(24, 20, 6).swapaxes(1, 2), embedder.estimator_.encode(X), rtol=1e-5, atol=1e-7
    )


class Halving(Encoder):
    """Gives an embedding every other step."""

    def __init__(self, in_channels):
        super().__init__(4)
        self.inner = DilatedConvEncoder(in_channels, 4, 4, 1)

    def features(self, x, mask=None, sensors=None):
        return self.inner.features(x, None, None)[:, :, ::2]


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="window_length is 1: a window needs at least 2"):
        SeriesEmbedder(TS2Vec(**SMALL), window_length=1).fit(X)
    halving = SeriesEmbedder(COMET(**SMALL, encoder=Halving, heads={"sample": 1.0})).fit(X)
    with pytest.raises(ConfigError, match="Halving gave 10 embeddings for 20 time steps"):
        halving.transform(X)


def test_a_model_from_disk_stays_as_it_is(embedder, tmp_path):
    embedder.estimator_.save_pretrained(tmp_path / "model")
    frozen = FrozenEstimator(TS2Vec.from_pretrained(tmp_path / "model"))
    other = np.random.default_rng(1).normal(size=(5, 2, 20))
    again = PanelEmbedder(frozen, random_state=1).clone().fit(other)
    np.testing.assert_array_equal(again.transform(X), embedder.transform(X))


def test_random_state_replaces_those_inside():
    unseeded = {**SMALL, "random_state": None}
    first, second = (PanelEmbedder(TS2Vec(**unseeded), random_state=3).fit_transform(X) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    np.testing.assert_array_equal(first, TS2Vec(**{**SMALL, "random_state": 3}).fit(X).transform(X))
    model = EmbeddingClassifier(TS2Vec(**unseeded), RandomForestClassifier(5), random_state=3)
    model.fit(X, PATIENT)
    assert (model.estimator_.random_state, model.classifier_.random_state) == (3, 3)
    assert (model.estimator.random_state, model.classifier.random_state) == (None, None)


@pytest.fixture(scope="module")
def rhythms():
    """Slow and fast oscillations of random phase, and their names."""
    rng = np.random.default_rng(0)
    y = np.array(["slow", "fast"])[np.arange(60) % 2]
    speed = np.where(y == "slow", 0.3, 1.2)
    signals = np.sin(speed[:, None] * np.arange(40) + rng.uniform(0, 6, size=(60, 1)))
    return (signals + rng.normal(0, 0.1, size=signals.shape))[:, None], y


@pytest.mark.parametrize(
    ("classifier", "has_probabilities"),
    [
        (None, True),
        (RandomForestClassifier(20, random_state=0), True),
        (make_pipeline(StandardScaler(), SVC()), False),
    ],
)
def test_classifier_tells_rhythms_apart(rhythms, classifier, has_probabilities):
    signals, y = rhythms
    model = EmbeddingClassifier(TS2Vec(**ABLE), classifier).fit(signals[:40], y[:40])
    assert model.score(signals[40:], y[40:]) > 0.9
    assert model.get_tag("capability:predict_proba") is has_probabilities
    proba = model.predict_proba(signals[40:])
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(signals[40:]))
    if has_probabilities:
        embedded = model.estimator_.transform(signals[40:])
        np.testing.assert_allclose(proba, model.classifier_.predict_proba(embedded), rtol=1e-5)
    else:
        assert set(proba.ravel()) == {0.0, 1.0}


def test_classifier_takes_unequal_lengths_and_missing_values(rhythms):
    signals, y = rhythms
    signals = signals.copy()
    signals[::5, :, 7:9] = np.nan
    lengths = [40 - row % 4 for row in range(60)]
    panel = frame(signals, lengths, instance=np.arange(60))
    model = EmbeddingClassifier(TS2Vec(**ABLE)).fit(panel, y)
    assert model.score(panel, y) > 0.9


def test_pipelines_of_sktime(rhythms):
    from sktime.transformations.difference import Differencer

    signals, y = rhythms
    tabular = PanelEmbedder(TS2Vec(**ABLE)) * LogisticRegression()
    assert tabular.fit(signals, y).score(signals, y) > 0.9
    chained = Differencer() * EmbeddingClassifier(TS2Vec(**ABLE))
    assert chained.fit(signals, y).score(signals, y) > 0.9
    both = (Differencer() + SeriesEmbedder(TS2Vec(**ABLE), window_length=20)).fit_transform(pd.DataFrame(signals[0].T))
    assert both.shape == (40, 17)


def test_a_hierarchical_frame_in_a_pipeline_of_sklearn(rhythms):
    signals, y = rhythms
    trial = np.arange(60) // 4
    recordings = frame(signals, patient=trial // 3, trial=trial, window=np.arange(60) % 4)
    pipeline = make_pipeline(PanelEmbedder(COMET(**ABLE, lr=1e-3)), StandardScaler(), LogisticRegression())
    assert pipeline.fit(recordings, y).score(recordings, y) > 0.9
    assert "train/patient" in pipeline[0].estimator_.history_


def test_the_reader_and_the_adapters_agree_on_ids():
    hierarchical = frame(X, patient=PATIENT, trial=TRIAL, window=WINDOW)
    ours, read = whole_series(hierarchical), from_sktime(hierarchical)
    for level in ("patient", "trial"):
        np.testing.assert_array_equal(ours.codes(level), read.codes(level))
