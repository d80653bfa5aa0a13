import logging

import numpy as np
import pandas as pd
import pytest

from tscl.data import Series, read_series
from tscl.errors import ConfigError, DataError, DataNotFoundError

HOURS = pd.date_range("2016-07-01", periods=6, freq="1h")
VALUES = [1.5, 2.0, 4.0, 8.0, 16.0, 32.0]
LINES = [f"{time},{value},{i}" for i, (time, value) in enumerate(zip(HOURS, VALUES, strict=True))]


def write(path, lines, header="date,OT,n"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def csv(tmp_path):
    return write(tmp_path / "some.csv", LINES)


def test_a_csv_becomes_a_series(csv):
    series = read_series(csv)
    assert isinstance(series, Series)
    assert series.names == ("OT", "n")
    assert series.values.dtype == np.float64
    np.testing.assert_array_equal(series.values, [VALUES, range(6)])
    assert series.times.equals(HOURS)
    assert series.step == pd.Timedelta("1h")
    assert series.labels is None
    assert series.source == str(csv)
    assert len(series) == 6
    assert "2 variables, 6 steps of 1h" in repr(series)
    assert read_series(csv, columns=["n"]).values.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_decimal_commas(tmp_path, separator):
    lines = [f"{time}{separator}{str(value).replace('.', ',')}" for time, value in zip(HOURS, VALUES, strict=True)]
    series = read_series(write(tmp_path / "a.txt", lines, f"date{separator}OT"))
    np.testing.assert_array_equal(series.values, [VALUES])


def test_the_files_of_the_literature_written_anew(tmp_path):
    weather = ["1/1/2010 0:00,10.0,-10.3", "1/1/2010 1:00,10.0,-10.3", "1/1/2010 2:00,7.0,-9"]
    series = read_series(write(tmp_path / "WTH.csv", weather, "date,Visibility,WetBulbCelsius"))
    assert series.times[2] == pd.Timestamp("2010-01-01 02:00")
    assert series.values.tolist() == [[10, 10, 7], [-10.3, -10.3, -9]]
    header = '"";"MT_001";"MT_002"'
    raw = ['"2011-01-01 00:15:00";0;1,5', '"2011-01-01 00:30:00";3,807106598;2', '"2011-01-01 00:45:00";0;0']
    series = read_series(write(tmp_path / "LD2011_2014.txt", raw, header), date="Unnamed: 0")
    assert series.step == pd.Timedelta("15min")
    assert series.values[:, 1].tolist() == [3.807106598, 2.0]


@pytest.mark.parametrize(
    "form", ["%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M", "%Y%m%d %H%M", "%d.%m.%Y %H:%M", "%d %b %Y %H:%M"]
)
def test_other_ways_to_write_dates(tmp_path, form):
    hours = pd.date_range("2010-01-01", periods=400, freq="1h")
    assert read_series(write(tmp_path / "a.csv", [f"{hour:{form}},1.0,2" for hour in hours])).times.equals(hours)


def test_midnight_without_its_hour(tmp_path):
    hours = pd.date_range("2010-01-01", periods=60, freq="1h")
    lines = [f"{hour:%Y-%m-%d},1.0,2" if hour.hour == 0 else f"{hour:%Y-%m-%d %H:%M},1.0,2" for hour in hours]
    assert read_series(write(tmp_path / "a.csv", lines)).times.equals(hours)


@pytest.mark.parametrize(("n", "read_as"), [(40, "%d/%m/%Y"), (3, "%m/%d/%Y")])
def test_days_before_months_where_only_that_is_regular(tmp_path, n, read_as):
    days = pd.date_range("2010-01-01", periods=n, freq="1D")
    series = read_series(write(tmp_path / "a.csv", [f"{day:{read_as}},1.0,2" for day in days]))
    assert series.times.equals(days)


def test_a_short_stretch_of_days_before_months_is_told_by_its_steps(tmp_path):
    hours = pd.date_range("2010-02-01", periods=60, freq="1h")  # 1/2/2010 to 3/2/2010
    series = read_series(write(tmp_path / "a.csv", [f"{hour:%d/%m/%Y %H:%M},1.0,2" for hour in hours]))
    assert series.times.equals(hours)


def test_a_data_frame_with_dates_as_index_or_column():
    frame = pd.DataFrame({"OT": VALUES, "flag": [0, 0, 1, 0, 0, 1]}, index=HOURS)
    for table in (frame, frame.rename_axis("date").reset_index()):
        series = read_series(table, label="flag")
        assert series.times.equals(HOURS)
        assert series.names == ("OT",)
        assert series.labels is not None
        assert series.labels.tolist() == [False, False, True, False, False, True]
    with pytest.raises(DataError, match="in row 2.*no number"):
        read_series(frame.assign(OT=[1, 2, "x", 4, 5, 6]))
    with pytest.raises(DataError, match="which is no number"):
        read_series(frame.assign(when=HOURS))
    with pytest.raises(DataError, match="several columns are called 'OT'"):
        read_series(pd.concat([frame, frame], axis=1))
    with pytest.raises(DataError, match="no date column 'date'"):
        read_series(frame.reset_index(drop=True))
    with pytest.raises(DataError, match="date is missing in row 1"):
        read_series(frame.rename_axis("date").reset_index().assign(date=[HOURS[0], pd.NaT, *HOURS[2:]]))


def test_stamps_with_a_time_zone_are_taken_in_utc(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tscl")
    lisbon = pd.date_range("2020-10-24 22:00", periods=8, freq="1h", tz="Europe/Lisbon")
    lines = [f"{time.isoformat()},{i},1" for i, time in enumerate(lisbon)]
    assert len({line.split("+")[1][:5] for line in lines}) == 2
    utc = pd.date_range("2020-10-24 21:00", periods=8, freq="1h")
    assert read_series(write(tmp_path / "a.csv", lines)).times.equals(utc)
    assert "are taken in UTC" in caplog.text
    assert read_series(pd.DataFrame({"a": range(8)}, index=lisbon)).times.equals(utc)


def test_labels_of_other_spellings(tmp_path):
    path = write(tmp_path / "a.csv", [f"{time},1.0,{i == 2}" for i, time in enumerate(HOURS)])
    labels = read_series(path, label="n").labels
    assert labels is not None
    assert labels.dtype == bool
    assert labels.tolist() == [False, False, True, False, False, False]


def test_what_is_missing_stays_missing(tmp_path):
    path = write(tmp_path / "a.csv", [*LINES[:2], f"{HOURS[2]},,2", *LINES[3:], ""])
    assert np.isnan(read_series(path).values[0]).tolist() == [False, False, True, False, False, False]


def replaced(number, line):
    return [line if i == number else one for i, one in enumerate(LINES)]


AUTUMN = ["2020-10-25 00:00:00,1,1", "2020-10-25 01:00:00,2,1", "2020-10-25 01:00:00,3,1", "2020-10-25 02:00:00,4,1"]
SPRING = [f"2020-03-29 0{hour}:00:00,1,1" for hour in (0, 2, 3, 4)]
BAD = {
    "a date that does not parse": (replaced(3, "yesterday,8,3"), {}, r"is 'yesterday'.* in line 5: write all"),
    "two of them": ([*LINES[:4], "x,1,1", "y,1,1"], {}, r"is 'x'.* in line 6 \(and 1 more\)"),
    "no date at all": ([f"a{i},1,1" for i in range(3)], {}, r"is 'a0', which is no date, in line 2"),
    "an empty date": (replaced(3, ",8,3"), {}, r"is empty, in line 5"),
    "numbers for dates": (LINES, {"date": "n"}, "holds numbers such as 0"),
    "a repeated stamp": (replaced(3, LINES[2]), {}, r"02:00:00 stands in line 4 and again in line 5: keep one"),
    "an hour twice in autumn": (AUTUMN, {}, "line 3 and again in line 4 .a change to or from daylight saving"),
    "an hour left out in spring": (SPRING, {}, "comes 2h after 2020-03-29 00:00:00 .a change to or from daylight"),
    "unsorted stamps": ([LINES[0], LINES[2], LINES[1], *LINES[3:]], {}, "not sorted, 2016-07-01 01:00:00 in line 4"),
    "a missing stamp": ([*LINES[:3], *LINES[4:]], {}, "step is 1h, but 2016-07-01 04:00:00 in line 5 comes 2h after"),
    "a column that is absent": (LINES, {"columns": ["nothing"]}, "'nothing' is not in the file: .*OT, n"),
    "a label that is absent": (LINES, {"label": "nothing"}, "'nothing' is not in the file"),
    "the date as a variable": (LINES, {"columns": ["date"]}, "'date' is the date column"),
    "the label as a variable": (LINES, {"columns": ["n"], "label": "n"}, "cannot be a variable and the label"),
    "a date column that is absent": (LINES, {"date": "time"}, "no date column 'time'.*date, OT, n"),
    "text among numbers": (replaced(1, "2016-07-01 01:00:00,much,1"), {}, "'OT' holds 'much' in line 3, which"),
    "infinity": (replaced(1, "2016-07-01 01:00:00,-inf,1"), {}, "'OT' is infinite in line 3"),
    "an empty column": ([f"{time},,1" for time in HOURS], {}, "'OT' holds no value at all"),
    "a label that is neither 0 nor 1": (LINES, {"label": "n"}, r"label column 'n' holds '2' in line 4 \(and 3 more\)"),
    "a label that is missing": (replaced(1, "2016-07-01 01:00:00,1,"), {"label": "n"}, "holds 'nan' in line 3"),
    "one row": (LINES[:1], {}, "has 1 rows"),
    "a line that was cut off": ([*LINES[:4], "2016-07-01 04:00:00,16"], {}, "line 6 has 2 cells, the header has 3"),
    "a line that is too long": (replaced(0, LINES[0] + ",7"), {}, "line 2 has 4 cells, the header has 3"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_tables_are_refused_in_one_sentence(tmp_path, what):
    lines, options, said = BAD[what]
    with pytest.raises(DataError, match=said) as error:
        read_series(write(tmp_path / "bad.csv", lines), **options)
    assert str(error.value).startswith(str(tmp_path / "bad.csv"))
    assert "\n" not in str(error.value)


def test_what_is_no_table(tmp_path, csv):
    with pytest.raises(DataNotFoundError, match="does not exist"):
        read_series(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a folder: .*some.csv"):
        read_series(tmp_path)
    for content in (b"", b"some words\n", b"\x89PNG\r\n\x1a\n\xff\xfe,", b'date,OT\n"2016,1\n'):
        (tmp_path / "no.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"no.csv (is no table|has no date)"):
            read_series(tmp_path / "no.csv")
    with pytest.raises(DataError, match="is the header line missing"):
        read_series(write(tmp_path / "bare.csv", LINES[1:], LINES[0]))
    write(tmp_path / "only.csv", [f"{time}," for time in HOURS], "date,")
    with pytest.raises(DataError, match="holds no value at all"):
        read_series(tmp_path / "only.csv")
    with pytest.raises(DataError, match="no column beside 'date'"):
        read_series(csv, columns=[])
    with pytest.raises(ConfigError, match=r"give a list, columns=\['OT'\]"):
        read_series(csv, columns="OT")
    with pytest.raises(ConfigError, match="regularise='drop' is not known"):
        read_series(csv, regularise="drop")


def test_blank_lines_do_not_shift_the_line_numbers(tmp_path):
    path = write(tmp_path / "a.csv", [*LINES[:2], "", f"{HOURS[2]},x,2", "", ""])
    with pytest.raises(DataError, match="'x' in line 5"):
        read_series(path)
