import copy
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tscl.data.recording import Channels
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.baselines import ClassicalBaseline, amplitude_features, band_powers
from tscl.evaluation.embedding import embed
from tscl.evaluation.finetune import FineTuner
from tscl.evaluation.metrics import classification_metrics
from tscl.evaluation.probe import C_GRID, KNNProbe, LinearProbe
from tscl.evaluation.supervised import ShuffledBatches


class TinyEncoder(nn.Module):
    """Convolution, dropout, stride: (B, C, T) to (B, dim, T // stride)."""

    def __init__(self, n_channels=2, dim=8, stride=1):
        super().__init__()
        self.dim = dim
        self.net = nn.Sequential(
            nn.Conv1d(n_channels, dim, 5, padding=2, stride=stride), nn.GELU(), nn.BatchNorm1d(dim), nn.Dropout(0.1)
        )

    def forward(self, x, mask=None, sensors=None):
        return self.net(x.nan_to_num())


def cohort(n_patients=12, per_patient=8, n_times=50, sfreq=100.0, seed=0, classes=(0, 1)):
    """Patients of class 1 have a 10 Hz oscillation that the others lack."""
    rng = np.random.default_rng(seed)
    n = n_patients * per_patient
    patient = np.repeat(np.arange(n_patients), per_patient)
    sick = patient % 2
    time = np.arange(n_times) / sfreq
    x = rng.normal(size=(n, 2, n_times)) + 3 * sick[:, None, None] * np.sin(
        2 * np.pi * 10 * time + rng.uniform(0, 6, (n, 1, 1))
    )
    table = pd.DataFrame({"patient": [f"P{p}" for p in patient], "trial": np.arange(n) % per_patient // 4})
    table["sick"] = np.array(classes, dtype=object)[sick]
    channels = Channels(("a", "b"), ("eeg", "eeg"), "uV", sfreq)
    return WindowDataset(x.astype("float32"), table, channels, ("patient", "trial"), "sick")


@pytest.fixture(scope="module")
def sides():
    data = cohort()
    number = data.codes("patient")
    return data.select(number < 6), data.select((number >= 6) & (number < 8)), data.select(number >= 8)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TinyEncoder()


def accuracy(proba, data):
    return (proba.argmax(axis=1) == data.y).mean()


def unchanged(before, module):
    return all(torch.equal(a, b) for a, b in zip(before.values(), module.state_dict().values(), strict=True))


def test_embed_equals_one_pass_and_restores_everything(encoder, sides):
    data = sides[0]
    encoder.train()
    encoder.net[2].eval()
    before = copy.deepcopy(encoder.state_dict())
    rng = torch.get_rng_state()
    found = embed(encoder, data, batch_size=7)
    assert encoder.training
    assert not encoder.net[2].training
    assert encoder.net[3].training
    assert unchanged(before, encoder)
    assert torch.equal(rng, torch.get_rng_state())
    with torch.no_grad():
        z = encoder.eval()(torch.from_numpy(data.numpy()))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, z.amax(dim=2).numpy(), atol=1e-6)
    np.testing.assert_allclose(embed(encoder, data.numpy(), batch_size=9), found, atol=1e-6)
    np.testing.assert_allclose(embed(encoder, torch.from_numpy(data.numpy()), per_step=True), z.numpy(), atol=1e-6)
    both = embed(encoder, data, pooling="mean+std")
    np.testing.assert_allclose(both[:, 8:], z.numpy().std(axis=2), atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_not_pooled_over(stride):
    class Constant(nn.Module):
        dim = 1

        def forward(self, x, mask=None, sensors=None):
            steps = torch.arange(x.shape[2] // stride, dtype=torch.float32)
            return steps.expand(len(x), 1, -1).clone()

    x = np.zeros((2, 2, 12), "float32")
    x[0, :, 6:] = np.nan
    x[1, 0] = np.nan
    found = embed(Constant(), x)
    assert found[:, 0].tolist() == [6 / stride - 1, 12 / stride - 1]


def test_embed_refuses_what_it_cannot_use(encoder):
    with pytest.raises(DataError, match="expected \\(windows, channels, times\\)"):
        embed(encoder, np.zeros((3, 4), "float32"))
    with pytest.raises(DataError, match="no window"):
        embed(encoder, np.zeros((0, 2, 4), "float32"))
    with pytest.raises(ConfigError, match="Linear returned \\(3, 2, 4\\)|Flatten returned \\(3, 8\\)"):
        embed(nn.Flatten(), np.zeros((3, 2, 4), "float32"))


def test_probe_is_better_than_chance_on_unseen_patients(encoder, sides):
    train, val, test = sides
    H = {name: embed(encoder, data, pooling="mean+std") for name, data in zip("abc", sides, strict=True)}
    chosen = LinearProbe().fit(H["a"], train.y, validation=(H["b"], val.y))
    crossed = LinearProbe(class_weight="balanced").fit(H["a"], train.y, groups=train.codes("patient"))
    for probe in (chosen, crossed, KNNProbe(5).fit(H["a"], train.y)):
        proba = probe.predict_proba(H["c"])
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert accuracy(proba, test) > 0.8
    assert chosen.C_ in C_GRID
    assert LinearProbe(0.3).fit(H["a"], train.y).C_ == 0.3


def test_probe_equals_scikit_learn_and_keeps_absent_classes(sides):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    H = np.random.default_rng(0).normal(size=(40, 3))
    y = np.where(H[:, 0] > 0, 2, 0)
    y[:5] = -1
    proba = LinearProbe(1.0).fit(H, y, n_classes=4).predict_proba(H)
    expected = make_pipeline(StandardScaler(), LogisticRegression()).fit(H[5:], y[5:]).predict_proba(H)
    np.testing.assert_allclose(proba[:, [0, 2]], expected)
    assert (proba[:, [1, 3]] == 0).all()
    assert (KNNProbe(3).fit(H, y, n_classes=4).predict_proba(H)[:, [1, 3]] == 0).all()


@pytest.mark.parametrize("choose_by", ["auroc", "f1"])
def test_probe_chooses_the_best_penalty_on_validation_patients(choose_by):
    rng = np.random.default_rng(1)
    y, y_val = np.arange(60) % 2, np.arange(200) % 2
    H, H_val = rng.normal(size=(60, 30)), rng.normal(size=(200, 30))
    H[:, 0] += y
    H_val[:, 0] += y_val
    scores = {
        C: classification_metrics(y_val, LinearProbe(C).fit(H, y).predict_proba(H_val), 2)[choose_by] for C in C_GRID
    }
    chosen = LinearProbe(choose_by=choose_by).fit(H, y, validation=(H_val, y_val)).C_
    assert scores[chosen] == max(scores.values()) > min(scores.values())
    unlabelled = (np.r_[H_val, H_val], np.r_[y_val, np.full(200, -1)])
    again = LinearProbe(choose_by=choose_by).fit(H, y, validation=unlabelled)
    assert chosen == again.C_


def test_cross_validation_never_has_a_patient_on_both_sides():
    patients = np.random.default_rng(0).integers(0, 9, 60)
    y = patients % 2
    folds = LinearProbe._folds(np.zeros((60, 1)), y, patients)
    assert len(folds) > 1
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))
    for train, test in folds:
        assert not set(patients[train]) & set(patients[test])
        assert len(set(y[train])) == 2


@pytest.mark.parametrize("probe", [LinearProbe(), KNNProbe()])
def test_probe_errors(probe):
    H = np.zeros((4, 2))
    with pytest.raises(DataError, match="no training window has a label"):
        probe.fit(H, np.full(4, -1))
    with pytest.raises(DataError, match="needs two classes"):
        probe.fit(H, np.array([1, 1, -1, 1]))
    with pytest.raises(DataError, match="expected \\(n, D\\)"):
        probe.fit(H, np.zeros(3))
    with pytest.raises(DataError, match="2 rows of features"):
        probe.fit(np.array([[0, 1], [np.nan, 0], [np.inf, 0], [1, 1.0]]), np.array([0, 1, 0, 1]))


def test_probe_without_anything_to_choose_with(caplog):
    H, y = np.arange(8.0).reshape(4, 2), np.array([0, 0, 1, 1])
    assert LinearProbe().fit(H, y, groups=np.zeros(4)).C_ == 1
    assert LinearProbe().fit(H, y, validation=(H[:1], y[:1])).C_ == 1
    assert caplog.text.count("C is set to 1") == 2
    with pytest.raises(ConfigError, match="choose_by"):
        LinearProbe(choose_by="loss")


FAST = {"max_epochs": 12, "lr": 3e-3, "batch_size": 16, "hidden": 16, "accelerator": "cpu"}


def test_finetuning_learns_keeps_the_best_epoch_and_touches_nothing(encoder, sides):
    train, val, test = sides
    encoder.eval()
    before = copy.deepcopy(encoder.state_dict())
    torch.manual_seed(7)
    state = torch.get_rng_state()
    tuner = FineTuner(encoder, 2, **FAST).fit(train, val)
    first = tuner.predict_proba(test)
    assert torch.equal(state, torch.get_rng_state())
    assert unchanged(before, encoder)
    assert all(p.requires_grad for p in encoder.parameters())
    assert not encoder.training
    assert tuner.module_.encoder.net[2].num_batches_tracked > 0
    assert accuracy(first, test) > 0.8
    np.testing.assert_allclose(first.sum(axis=1), 1)
    curve = [(row["val_f1"], -row["val_loss"]) for row in tuner.history_]
    assert tuner.best_epoch_ == curve.index(max(curve))
    assert all({"train_loss", "val_loss", "epoch"} <= set(row) for row in tuner.history_)

    torch.manual_seed(123)
    again = FineTuner(encoder, 2, **FAST).fit(train, val).predict_proba(test)
    np.testing.assert_array_equal(first, again)
    other = FineTuner(encoder, 2, seed=1, **FAST).fit(train, val).predict_proba(test)
    assert not np.array_equal(first, other)


def test_best_weights_are_those_of_the_best_epoch(encoder, sides):
    train, val, _ = sides
    tuner = FineTuner(encoder, 2, monitor="loss", **{**FAST, "lr": 0.05}).fit(train, val)
    loss = -np.log(tuner.predict_proba(val)[np.arange(len(val)), val.y]).mean()
    assert loss == pytest.approx(min(row["val_loss"] for row in tuner.history_), rel=1e-4)


def test_patience_stops_early(encoder, sides):
    train, val, _ = sides
    tuner = FineTuner(encoder, 2, patience=2, **{**FAST, "lr": 0.0, "max_epochs": 30}).fit(train, val)
    assert len(tuner.history_) < 30
    assert tuner.history_[-1]["epoch"] - tuner.best_epoch_ >= 2


def test_frozen_encoder_stays_as_it_was(encoder, sides):
    tuner = FineTuner(encoder, 2, freeze=True, class_weight="balanced", **FAST).fit(sides[0])
    assert unchanged(encoder.state_dict(), tuner.module_.encoder)
    assert tuner.best_epoch_ is None
    assert all(p.requires_grad for p in encoder.parameters())
    tuned = FineTuner(encoder, 2, class_weight=[1.0, 2.0], **FAST).fit(sides[0])
    assert not unchanged(encoder.state_dict(), tuned.module_.encoder)


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (3, [3]), (5, [5])])
def test_no_batch_has_a_single_window(n, sizes):
    batches = ShuffledBatches(np.arange(n) + 100, 4, torch.Generator().manual_seed(0))
    first, second = list(batches), list(batches)
    assert [len(batch) for batch in first] == sizes
    assert len(batches) == len(sizes)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == (np.arange(n) + 100).tolist()
    assert n < 5 or first != second


def test_unlabelled_windows_are_left_out_and_counted(encoder, caplog):
    data = cohort(n_patients=4)
    table = data.metadata.copy()
    table.loc[:14, "sick"] = None
    partly = WindowDataset(data.signals, table, data.channels, data.levels, "sick", classes=(0, 1))
    with caplog.at_level(logging.INFO, logger="tscl"):
        found = FineTuner(encoder, 2, **{**FAST, "batch_size": 16}).fit(partly).predict_proba(partly)
    assert "15 of 32 training windows have no label" in caplog.text
    only = FineTuner(encoder, 2, **{**FAST, "batch_size": 16}).fit(partly.select(partly.y >= 0)).predict_proba(partly)
    assert found.shape == only.shape == (32, 2)
    assert np.isfinite(found).all()


def test_finetuning_errors(encoder, sides, caplog):
    train, val, _ = sides
    tuner = FineTuner(encoder, 2, **{**FAST, "max_epochs": 1})
    with pytest.raises(DataError, match="no training window has a label: the target column is None"):
        tuner.fit(train.with_target(None))
    with pytest.raises(DataError, match="have class 1: a classifier needs two classes"):
        tuner.fit(train.select(train.y == 1))
    with pytest.raises(DataError, match="n_classes is 1"):
        FineTuner(encoder, 1, **FAST).fit(train)
    other = cohort(n_patients=2, classes=("no", "yes"))
    with pytest.raises(DataError, match="select both from one WindowDataset"):
        tuner.fit(train, other)
    with pytest.raises(ConfigError, match="at least 2"):
        FineTuner(encoder, 2, batch_size=1)
    with pytest.raises(ConfigError, match="monitor"):
        FineTuner(encoder, 2, monitor="auc")
    with pytest.raises(ConfigError, match="attribute dim"):
        FineTuner(nn.Identity(), 2)
    with pytest.raises(ConfigError, match="class_weight has shape"):
        FineTuner(encoder, 2, class_weight=[1.0], **FAST).fit(train)
    FineTuner(encoder, 2, monitor="auroc", **{**FAST, "max_epochs": 1}).fit(train, val.select(val.y == 1))
    assert "watches the loss" in caplog.text


def test_validation_windows_of_an_unseen_class(encoder, caplog):
    data = cohort(n_patients=6)
    table = data.metadata.assign(sick=np.array(["a", "b", "c", "a", "b", "c"])[data.codes("patient")])
    data = WindowDataset(data.signals, table, data.channels, data.levels, "sick")
    train, val = data.select("sick != 'c' and patient < 'P3'"), data.select("patient >= 'P3'")
    tuner = FineTuner(encoder, 3, **{**FAST, "max_epochs": 2}).fit(train, val)
    assert "8 validation windows have a class no training window has" in caplog.text
    assert tuner.predict_proba(val).shape == (24, 3)
    with pytest.raises(DataError, match="no class of the validation windows"):
        tuner.fit(train, data.select("sick == 'c'"))


def test_band_powers_find_the_oscillation():
    time = np.arange(400) / 100
    x = np.stack([np.sin(2 * np.pi * 10 * time), np.sin(2 * np.pi * 25 * time)])[None]
    powers = band_powers(x, 100.0).reshape(2, 6)
    assert powers.argmax(axis=1).tolist() == [2, 4]
    noise = np.random.default_rng(0).normal(size=(3, 2, 200))
    np.testing.assert_allclose(band_powers(10 * noise, 100.0), band_powers(noise, 100.0) + 2)
    assert (band_powers(np.zeros((1, 1, 200)), 100.0) == -20).all()
    gap = x.copy()
    gap[:, :, 390:] = np.nan
    assert np.isfinite(band_powers(gap, 100.0)).all()
    assert band_powers(gap, 100.0).reshape(2, 6).argmax(axis=1).tolist() == [2, 4]
    with pytest.raises(DataError, match="gamma band"):
        band_powers(x, 60.0)
    with pytest.raises(DataError, match="delta band"):
        band_powers(x[:, :, :10], 100.0)
    with pytest.raises(DataError, match="expected \\(windows, channels, times\\)"):
        band_powers(x[0], 100.0)


def test_amplitude_features_by_hand():
    x = np.array([[[1.0, -3.0, np.nan, 2.0]]])
    np.testing.assert_allclose(amplitude_features(x), [[2, -3, 5, 0, np.sqrt(3.5), np.sqrt(3.5), 1.5]])
    assert np.isfinite(amplitude_features(np.full((1, 2, 3), np.nan))).all()


@pytest.mark.parametrize(
    "options", [{}, {"features": "amplitudes"}, {"features": "amplitudes", "median_over": "patient"}]
)
def test_classical_baseline_is_better_than_chance(sides, options):
    train, val, test = (cohort(16, n_times=100, seed=3).select(rows) for rows in np.split(np.arange(128), [64, 96]))
    for held in (val, None):
        proba = ClassicalBaseline(**options).fit(train, held).predict_proba(test)
        assert proba.shape == (32, 2)
        assert accuracy(proba, test) >= (0.8 if "median_over" not in options else 0.5)
    if "median_over" in options:
        assert len(np.unique(proba[:, 1])) <= 4


def test_classical_baseline_errors(sides):
    with pytest.raises(ConfigError, match="band_powers or amplitudes"):
        ClassicalBaseline("wavelets")
    with pytest.raises(DataError, match="no target column"):
        ClassicalBaseline("amplitudes").fit(sides[0].with_target(None))


def test_the_head_fits_segment_pooling(encoder, sides):
    train, val, test = sides
    tuner = FineTuner(encoder, 2, max_epochs=1, pooling="mean/5+max", accelerator="cpu").fit(train, val)
    assert tuner.module_.head[0].in_features == 6 * encoder.dim
    assert tuner.predict_proba(test).shape == (len(test), 2)
