import pickle
from functools import partial

import numpy as np
import pytest

from tscl.data.readers import read_npz
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.errors import DataError


def two(path):
    whole = read_npz(path)
    return [
        Recording(whole.data, whole.channels, {"patient": "file", "trial": str(i)}, {"a": i, "b": i}) for i in range(2)
    ]


def test_ids_and_labels_are_merged_and_the_source_wins(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 10)))
    source = Source(tmp_path / "x.npy", {"patient": 7}, {"b": "table"}, reader=two)
    assert source.ids == {"patient": "7"}
    first, second = source.load()
    assert list(first.ids.items()) == [("patient", "7"), ("trial", "0")]
    assert second.labels == {"a": 1, "b": "table"}
    assert first.source == str(tmp_path / "x.npy")


def test_default_reader_and_pickling(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 10)))
    source = pickle.loads(pickle.dumps(Source(tmp_path / "x.npy", reader=partial(read_npz, sfreq=5.0))))
    assert source.load()[0].sfreq == 5.0
    assert Source(tmp_path / "x.npy").load()[0].sfreq == 1.0


def test_reader_of_something_else(tmp_path):
    with pytest.raises(DataError, match=r"x\.bin: the reader gave a str, expected a Recording"):
        Source("x.bin", reader=lambda path: [path]).load()
