import numpy as np
import pandas as pd
import pytest

from tscl.cli.main import main
from tscl.data import SERIES, SeriesSpec, SeriesTask, calendar_features, find_series, load_task
from tscl.errors import ConfigError, DataError, DataNotFoundError

N = 400
RNG = np.random.default_rng(0)


def frame(n=N, step="1h", **columns):
    times = pd.date_range("2016-07-01", periods=n, freq=step)
    return pd.DataFrame({"OT": RNG.normal(20, 9, n), "load": np.arange(n) * 1.0, **columns}, index=times)


def write(path, table):
    table.to_csv(path, index_label="date")
    return path


def test_a_task_holds_the_standardised_variable_and_the_calendar():
    table = frame()
    task = load_task(table, target="OT", horizons=[24, 48])
    assert isinstance(task, SeriesTask)
    train = table["OT"].to_numpy()[:240]
    assert task.mean == pytest.approx([train.mean()])
    assert task.scale == pytest.approx([train.std()])
    assert task.x.dtype == np.float32
    np.testing.assert_allclose(task.x[0], (table["OT"] - train.mean()) / train.std(), rtol=1e-4, atol=1e-5)
    raw = calendar_features(table.index)
    known = raw[:, :240]
    for row, values, seen in zip(task.x[1:], raw, known, strict=True):
        scale = seen.std() if seen.std() > 0 else 1.0
        np.testing.assert_allclose(row, (values - seen.mean()) / scale, rtol=1e-4, atol=1e-5)
    assert (task.x[1] == 0).all()  # the minute of hourly stamps
    assert task.channel_names[:3] == ("OT", "calendar/minute", "calendar/hour")
    assert (task.n_variables, task.horizons, task.season, task.name) == (1, (24, 48), 24, "series")
    assert "240 / 80 / 80 steps" in repr(task)
    assert task.skipped == ()


def test_a_task_of_all_variables_without_the_calendar():
    table = frame(flag=(np.arange(N) > 390).astype(int))
    task = load_task(table, multivariate=True, covariates=False, horizons=[1], label="flag", split="50/25/25")
    assert task.x.shape == (2, N)
    assert task.channel_names == task.series.names == ("OT", "load")
    raw = task.x * task.scale[:, None] + task.mean[:, None]
    np.testing.assert_allclose(raw, table[["OT", "load"]].T, rtol=1e-4, atol=1e-4)
    assert task.parts.sizes == {"train": 200, "val": 100, "test": 100}
    assert task.series.labels is not None
    assert task.series.labels.sum() == 9


def test_changing_what_comes_after_the_training_part_changes_no_standardisation():
    table = frame()
    other = table.copy()
    other.iloc[240:] *= 100
    one, two = (load_task(each, multivariate=True, horizons=[24]) for each in (table, other))
    np.testing.assert_array_equal(one.x[:, :240], two.x[:, :240])
    np.testing.assert_array_equal(one.mean, two.mean)


@pytest.mark.parametrize(("step", "season"), [("1h", 24), ("15min", 96), ("1D", 1), ("7D", 1)])
def test_the_season_is_a_day(step, season):
    assert load_task(frame(step=step), target="OT", horizons=[1]).season == season


def test_named_series_bring_their_settings(tmp_path):
    ett = pd.DataFrame({"HUFL": RNG.normal(size=14500), "OT": RNG.normal(size=14500)})
    ett.index = pd.date_range("2016-07-01", periods=14500, freq="1h")
    path = write(tmp_path / "etth2.csv", ett)
    task = load_task(path)
    assert (task.name, task.series.names, task.horizons) == ("etth2", ("OT",), (24, 48, 168, 336, 720))
    assert task.parts.sizes == {"train": 8640, "val": 2880, "test": 2880}
    assert load_task(path, multivariate=True).series.names == ("HUFL", "OT")
    assert load_task(path, target="HUFL", split="60/20/20", horizons=[7]).parts.sizes["test"] == 2900
    renamed = path.rename(tmp_path / "mine.csv")
    assert load_task(renamed, name="ETTh1").name == "etth1"
    assert load_task(renamed, target="OT").name == "mine"

    electricity = pd.DataFrame({"MT_001": RNG.normal(size=3000), "MT_002": RNG.normal(size=3000)})
    electricity.index = pd.date_range("2012-01-01", periods=3000, freq="1h")
    task = load_task(write(tmp_path / "ECL.csv", electricity))
    assert (task.name, task.series.names, task.horizons) == ("electricity", ("MT_001",), (24, 48, 168, 336))
    assert set(SERIES) == {"etth1", "etth2", "ettm1", "electricity", "weather"}
    assert SERIES["ettm1"].horizons == (24, 48, 96, 288, 672)
    assert all(isinstance(spec, SeriesSpec) and spec.page.startswith("https://") for spec in SERIES.values())


def test_horizons_that_do_not_fit_are_left_out_aloud_or_refused(caplog):
    assert load_task(frame(), target="OT").horizons == (24, 48)
    assert "the horizons 168, 336, 720 do not fit" in caplog.text
    assert load_task(frame(), target="OT", horizons=[79, 3, 79]).horizons == (79, 3)
    with pytest.raises(
        DataError, match="horizon of 80 steps reaches beyond a part, they have 240 / 80 / 80 .* most 79"
    ):
        load_task(frame(), target="OT", horizons=[24, 80])
    with pytest.raises(DataError, match="24 / 8 / 8 steps are too short for a horizon of 24: .* most 7"):
        load_task(frame(40), target="OT")
    for horizons in ([], [0], [24.0], 24, [True, -1]):
        with pytest.raises(ConfigError, match="give a list such as"):
            load_task(frame(), target="OT", horizons=horizons)


CONTRADICTIONS = {
    "nothing to forecast": ({}, ConfigError, "name a column by target=, or pass multivariate=True .* OT, load"),
    "target and multivariate": ({"target": "OT", "multivariate": True}, ConfigError, "choose one of both"),
    "unknown name": ({"name": "etth3"}, ConfigError, "no series 'etth3' known: use one of etth1, etth2"),
    "target that is absent": ({"target": "T"}, DataError, "'T' is not in the file: choose among OT, load"),
    "target that is the date": ({"target": "date"}, DataError, "date"),
    "target that is the label": ({"target": "OT", "label": "OT"}, DataError, "a variable and the label"),
    "unknown scheme": ({"target": "OT", "split": "thirds"}, ConfigError, "'thirds' is no scheme"),
    "too short for its name": ({"name": "etth1"}, DataError, "needs 14400 steps of 1h"),
    "column that the named series lacks": ({"name": "weather"}, DataError, "'WetBulbCelsius' is not in the file"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_contradictions_are_refused(tmp_path, what):
    options, kind, said = CONTRADICTIONS[what]
    path = write(tmp_path / "mine.csv", frame())
    with pytest.raises(kind, match=said) as error:
        load_task(path, **options)
    assert "\n" not in str(error.value)


def test_a_named_file_that_is_absent_says_where_it_is_to_be_had(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"ETTm1.csv does not exist: .*github.com/zhouhaoyi/ETDataset"):
        load_task(tmp_path / "ETTm1.csv")
    with pytest.raises(DataNotFoundError, match=r"x.csv does not exist: check the path\.$"):
        load_task(tmp_path / "x.csv", target="OT")


def test_what_cannot_be_standardised_is_refused():
    constant = frame()
    constant.iloc[:240, 1] = 20.1
    with pytest.raises(
        DataError, match=r"'load' is 20.1 all through the training part \(2016-07-01 00:00:00 to 2016-07"
    ):
        load_task(constant, multivariate=True, horizons=[24])
    assert load_task(constant, multivariate=True, horizons=[24], split="80/10/10").n_variables == 2
    empty = frame()
    empty.iloc[:240, 0] = np.nan
    with pytest.raises(DataError, match="'OT' holds no value in the training part"):
        load_task(empty, target="OT", horizons=[24])


def test_what_is_missing_stays_missing_and_is_said(caplog):
    table = frame()
    table.iloc[10:60, 0] = np.nan
    task = load_task(table, target="OT", horizons=[24])
    assert np.flatnonzero(np.isnan(task.x[0])).tolist() == list(range(10, 60))
    assert not np.isnan(task.x[1:]).any()
    assert task.mean == pytest.approx([table["OT"].iloc[:240].mean()])
    assert "'OT' most of all: 12 %, the longest stretch of 50 steps from 2016-07-01 10:00:00" in caplog.text


def test_find_series_and_the_command_that_lists_them(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TSCL_DATA", raising=False)
    assert find_series("weather") is None
    (tmp_path / "ett").mkdir()
    there = tmp_path / "ett" / "ETTh1.csv"
    there.touch()
    assert find_series("etth1", tmp_path) == find_series("etth1", tmp_path / "ett") == there
    assert find_series("etth2", tmp_path) is None
    monkeypatch.setenv("TSCL_DATA", str(tmp_path))
    assert find_series("etth1") == there
    assert main(["datasets"]) == 0
    blocks = {block.splitlines()[0]: block for block in capsys.readouterr().out.split("\n\n") if block.strip()}
    assert set(SERIES) <= set(blocks)
    assert f"found: {there}" in blocks["etth1"]
    assert "found: no" in blocks["electricity"]
    assert "file: ECL.csv or electricity.csv" in blocks["electricity"]


def test_the_real_files(shared_data):
    task = load_task(shared_data / "ett" / "ETTh1.csv")
    assert task.x.shape == (8, 17420)
    assert (task.name, task.season, task.series.times[-1]) == ("etth1", 24, pd.Timestamp("2018-06-26 19:00"))
    np.testing.assert_allclose(task.x[0, :8640].mean(), 0, atol=1e-5)
    assert task.mean == pytest.approx([17.128262], rel=1e-6)
    assert load_task(shared_data / "ett" / "ETTh1.csv", multivariate=True).x.shape == (14, 17420)
    task = load_task(shared_data / "weather" / "WTH.csv", multivariate=True)
    assert task.x.shape == (19, 35064)
    assert task.parts.sizes == {"train": 21038, "val": 7013, "test": 7013}
    assert task.series.times[[0, -1]].tolist() == [pd.Timestamp("2010-01-01"), pd.Timestamp("2013-12-31 23:00")]
    assert task.series.names[-1] == "WetBulbCelsius"
