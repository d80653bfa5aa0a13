import functools
from pathlib import Path

import numpy as np
import pytest

from tscl.data import cachekey
from tscl.data.cachekey import describe, files_of, names_in, source_keys
from tscl.data.preprocessing import HeartbeatTrials, Preprocessing, Resample, SlidingWindows
from tscl.data.readers import read_npz
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.errors import ConfigError


def shout(recording):
    return Recording(recording.data * 2, recording.channels, recording.ids, recording.labels, source=recording.source)


def test_descriptions_of_parameters():
    chain = Preprocessing([Resample(250), shout], HeartbeatTrials(), windows=SlidingWindows(1.2))
    same = Preprocessing([Resample(250), shout], HeartbeatTrials(), windows=SlidingWindows(1.2))
    assert describe(chain) == describe(same)
    assert describe(chain) != describe(
        Preprocessing([Resample(250), shout], HeartbeatTrials(length=301), windows=SlidingWindows(1.2))
    )
    assert "0x" not in describe(chain)
    assert describe(functools.partial(read_npz, key="X")) != describe(functools.partial(read_npz, key="Y"))
    assert describe(np.arange(3)) != describe(np.arange(3.0))
    assert describe({"a": {2, 1}, "b": Path("x")}) == describe({"a": {1, 2}, "b": Path("x")})
    with pytest.raises(ConfigError, match="no name of its own"):
        describe(lambda recording: recording)


def test_files_of_a_record(tmp_path):
    for name in ("r.dat", "r.atr", "rr.dat", "seg1.hea", "seg1.dat", "other.dat"):
        (tmp_path / name).write_text("")
    (tmp_path / "r.hea").write_text("r/2 1 100 20\nseg1 10\n~ 10\n")
    (tmp_path / "one.hea").write_text("one 1 100 20\nother.dat 16 200 16 0 0 0 0 I\n# a comment\n")
    assert [p.name for p in files_of(str(tmp_path / "r.hea"))] == ["r.atr", "r.dat", "r.hea", "seg1.dat", "seg1.hea"]
    assert [p.name for p in files_of(str(tmp_path / "one.hea"))] == ["one.hea", "other.dat"]
    assert len(files_of(str(tmp_path))) == 8
    assert files_of("simulated ECG 1") == []


def test_files_of_a_record_beside_others_with_a_similar_name(tmp_path):
    for name in ("a_raw.fif", "a_raw-1.fif", "a_raw-12.fif", "a_raw-ave.fif", "a_raw-", "a_rawer.fif", "a_raw.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "a_raw.d").mkdir()
    found = files_of(str(tmp_path / "a_raw.fif"))
    assert [p.name for p in found] == ["a_raw-1.fif", "a_raw-12.fif", "a_raw.fif", "a_raw.json"]
    assert files_of(str(tmp_path / "missing" / "a.edf")) == []


def test_a_folder_of_many_records_is_listed_a_few_times_and_not_once_a_record(tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number}.edf").write_text(str(number % 299))
    sources = [Source(path, {"patient": "a"}) for path in sorted(tmp_path.iterdir())]
    asked = []
    monkeypatch.setattr(cachekey, "names_in", lambda folder: asked.append(folder) or names_in(folder))
    keys = source_keys(sources)
    assert 1 <= len(asked) <= 64
    assert len(set(keys)) == 300
    monkeypatch.undo()
    alone = [source_keys([source])[0] for source in sources]
    assert alone == keys
