import functools
from pathlib import Path

import numpy as np
import pytest

from tscl.data.cachekey import describe, files_of
from tscl.data.preprocessing import HeartbeatTrials, Preprocessing, Resample, SlidingWindows
from tscl.data.readers import read_npz
from tscl.data.recording import Recording
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
