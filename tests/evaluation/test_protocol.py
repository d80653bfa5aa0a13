import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tscl.data.recording import Channels
from tscl.data.splits import Split
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError, LeakageError
from tscl.evaluation import ClassicalBaseline, FineTuner, LinearProbe, classification_metrics, embed, evaluate, vote
from tscl.evaluation.bootstrap import bootstrap_interval
from tscl.evaluation.metrics import METRICS
from tscl.evaluation.results import Results


class TinyEncoder(nn.Module):
    dim = 6

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(2, 6, 5, padding=2), nn.GELU(), nn.Dropout(0.1))

    def forward(self, x, mask=None, sensors=None):
        return self.net(x)


def cohort(n_patients=24, per_patient=6, n_times=40, task=False):
    """Patients (or, with ``task``, every second recording of each) of class 1 oscillate at 10 Hz."""
    rng = np.random.default_rng(0)
    n = n_patients * per_patient
    patient, recording = np.repeat(np.arange(n_patients), per_patient), np.arange(n) % 2
    label = recording if task else patient % 2
    wave = np.sin(2 * np.pi * 10 * np.arange(n_times) / 100 + rng.uniform(0, 6, (n, 1, 1)))
    x = rng.normal(size=(n, 2, n_times)) + 1.5 * label[:, None, None] * wave
    table = pd.DataFrame(
        {
            "patient": [f"P{p:02d}" for p in patient],
            "recording": [f"P{p:02d}_{r}" for p, r in zip(patient, recording, strict=True)],
            "trial": [f"P{p:02d}_{r}/{i}" for i, (p, r) in enumerate(zip(patient, recording, strict=True))],
            "onset": np.arange(n) * 1.0,
            "source": [f"P{p:02d}_{r}.edf" for p, r in zip(patient, recording, strict=True)],
            "label": label,
        }
    )
    channels = Channels(("a", "b"), ("eeg", "eeg"), "uV", 100.0)
    return WindowDataset(x.astype("float32"), table, channels, ("patient", "recording", "trial"), "label")


def cut(data):
    number = data.codes("patient")
    return Split(data.select(number < 14), data.select((number >= 14) & (number < 18)), data.select(number >= 18))


@pytest.fixture(scope="module")
def split():
    return cut(cohort())


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TinyEncoder()


FAST = {"max_epochs": 3, "lr": 3e-3, "batch_size": 16, "hidden": 8}
QUICK = {"n_resamples": 50, "accelerator": "cpu", "finetune": FAST}


def value(results, **where):
    rows = results.table
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1
    return rows["value"].item()


def test_results_equal_the_steps_done_by_hand(split, encoder):
    state = torch.get_rng_state()
    found = evaluate(encoder, split, label_fractions=(1.0,), seeds=(3,), **QUICK)
    assert torch.equal(state, torch.get_rng_state())
    y, patients = split.test.y, split.test.codes("patient")

    H = [embed(encoder, data) for data in (split.train, split.val, split.test)]
    probe = LinearProbe().fit(H[0], split.train.y, validation=(H[1], split.val.y)).predict_proba(H[2])
    tuner = FineTuner(encoder, 2, seed=3, accelerator="cpu", **FAST).fit(split.train, split.val)
    for method, proba in {"probe": probe, "finetune": tuner.predict_proba(split.test)}.items():
        expected = classification_metrics(y, proba, 2)
        voted, order = vote(proba, patients)
        by_patient = classification_metrics(np.array([y[patients == p][0] for p in order]), voted, 2)
        interval = bootstrap_interval(y, proba, patients, n_resamples=50)
        for metric in METRICS:
            where = {"model": "pretrained", "method": method, "metric": metric}
            assert value(found, unit="window", **where) == pytest.approx(expected[metric])
            assert value(found, unit="patient", **where) == pytest.approx(by_patient[metric])
            row = found.intervals[
                (found.intervals[list(where)] == pd.Series(where)).all(axis=1) & (found.intervals["unit"] == "window")
            ]
            np.testing.assert_allclose(row[["low", "high"]].to_numpy()[0], interval[metric])


def test_every_combination_has_its_rows_and_the_same_call_gives_the_same_numbers(split, encoder):
    options = {
        "methods": ("probe",),
        "label_fractions": (1.0, 0.4),
        "seeds": (0, 1),
        **QUICK,
        "baselines": {
            "random": lambda seed: TinyEncoder(),
            "band powers": lambda seed: ClassicalBaseline(C=1.0),
        },
    }
    torch.manual_seed(5)
    found = evaluate(encoder, split, **options)
    table = found.table
    assert len(table) == 3 * 2 * 2 * 2 * len(METRICS)
    assert not table.duplicated(["model", "method", "fraction", "seed", "unit", "metric"]).any()
    assert set(table[table["model"] == "band powers"]["method"]) == {"direct"}
    assert table["value"].between(0, 1).all()
    assert value(found, model="band powers", fraction=1.0, seed=0, unit="patient", metric="auroc") > 0.8
    torch.manual_seed(6)
    pd.testing.assert_frame_equal(table, evaluate(encoder, split, **options).table)
    random = table[(table["model"] == "random") & (table["fraction"] == 1) & (table["unit"] == "window")]
    assert random[random["metric"] == "auroc"]["value"].nunique() == 2


def test_windows_vote_for_the_recording_where_the_label_changes_within_a_patient(encoder):
    found = evaluate(encoder, cut(cohort(task=True)), methods=("probe",), label_fractions=(1.0,), seeds=(0,), **QUICK)
    assert set(found.table["unit"]) == {"window", "recording"}


def test_a_pretrained_encoder_for_each_seed_is_asked_for_by_seed(split):
    asked = []

    def factory(seed):
        asked.append(seed)
        return TinyEncoder()

    evaluate(factory, split, name="comet", methods=("probe",), label_fractions=(1.0,), seeds=(4, 9), **QUICK)
    assert asked == [4, 9]


def test_no_validation_side(split, encoder):
    found = evaluate(
        encoder,
        Split(split.train, None, split.test),
        methods=("probe", "finetune"),
        label_fractions=(1.0,),
        seeds=(0,),
        **QUICK,
    )
    assert set(found.table["method"]) == {"probe", "finetune"}


def test_unlabelled_windows_are_left_out(split, encoder):
    data = cohort()
    table = data.metadata.copy()
    table.loc[::5, "label"] = None
    partly = cut(WindowDataset(data.signals, table, data.channels, data.levels, "label"))
    found = evaluate(encoder, partly, methods=("probe",), label_fractions=(1.0,), seeds=(0,), **QUICK)
    assert found.table["value"].notna().all()


def test_errors(split, encoder):
    with pytest.raises(LeakageError):
        evaluate(encoder, Split(split.train, split.val, split.train), **QUICK)
    with pytest.raises(LeakageError):
        evaluate(encoder, Split(split.train, split.test, split.test), **QUICK)
    with pytest.raises(ConfigError, match="unknown methods \\['forest'\\]"):
        evaluate(encoder, split, methods=("forest",), **QUICK)
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate(encoder, split, seeds=(), **QUICK)
    with pytest.raises(ConfigError, match="two models are called 'random'"):
        evaluate(encoder, split, name="random", baselines={"random": encoder}, **QUICK)
    with pytest.raises(DataError, match="no train window has a label: the target column is None"):
        evaluate(encoder, Split(*(d.with_target(None) for d in (split.train, split.val, split.test))), **QUICK)
    other = split.test.with_target("patient")
    with pytest.raises(DataError, match="select all sides from one WindowDataset"):
        evaluate(encoder, Split(split.train, split.val, other), **QUICK)


def test_summary_markdown_and_csv(tmp_path):
    base = {"model": "comet", "method": "probe", "fraction": 0.1, "unit": "patient", "metric": "f1"}
    table = pd.DataFrame([{**base, "seed": s, "value": v} for s, v in [(0, 0.6), (1, 0.8)]])
    intervals = pd.DataFrame([{**base, "low": 0.5, "high": 0.9}])
    results = Results(table, intervals)
    row = results.summary().iloc[0]
    assert row["mean"] == pytest.approx(0.7)
    assert row["sd"] == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert (row["seeds"], row["low"], row["high"]) == (2, 0.5, 0.9)
    assert results.to_markdown(["f1", "auroc"]).splitlines() == [
        "| model | method | labels | unit | f1 | auroc |",
        "|---|---|---|---|---|---|",
        "| comet | probe | 10 % | patient | 0.700 ± 0.141 [0.50, 0.90] | - |",
    ]
    one = Results(table.iloc[:1], intervals.assign(low=np.nan, high=np.nan))
    assert one.to_markdown(["f1"]).endswith("| 0.600 |")
    pd.testing.assert_frame_equal(pd.read_csv(results.to_csv(tmp_path / "results.csv")), table)
