from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Channels, WindowDataset
from tscl.errors import DataError, DataNotFoundError

CHANNELS = Channels(("I", "II"), ("ecg", "ecg"), "mV", 4.0)


def make(n: int = 6, target: str | None = "sick", **columns) -> WindowDataset:
    x = np.random.default_rng(0).normal(size=(n, 2, 8)).astype("float32")
    table = pd.DataFrame(
        {"patient": np.arange(n) // 3, "trial": np.arange(n) % 3 // 2, "sick": np.arange(n) % 2, **columns}
    )
    return WindowDataset(x, table, CHANNELS, target=target)


def test_shape_duration_and_text():
    data = make()
    assert len(data) == 6
    assert data.shape == (6, 2, 8)
    assert data.duration == 2.0
    assert repr(data) == "WindowDataset(6 windows, 2 channels, 8 times at 4 Hz; 2 patients, 4 trials)"


def test_trials_of_two_patients_are_told_apart():
    assert make().codes("trial").tolist() == [0, 0, 1, 2, 2, 3]
    assert make().codes("patient").tolist() == [0, 0, 0, 1, 1, 1]


def test_batches_hold_signals_levels_and_labels():
    data = make()
    batch = data[[4, 1]]
    assert batch.x.dtype == torch.float32
    assert np.array_equal(batch.x.numpy(), data.signals[[4, 1]])
    assert {level: codes.tolist() for level, codes in batch.levels.items()} == {"patient": [1, 0], "trial": [2, 0]}
    assert batch.y.tolist() == [0, 1]
    assert make(target=None)[0].y is None
    for index in (2, slice(1, 3), np.array([0, 5]), [True] * 6):
        assert np.array_equal(data[index].x.numpy(), np.atleast_3d(data.signals[np.arange(6)[index]]).reshape(-1, 2, 8))
    batch.x[:] = 0
    assert (data.signals[[4, 1]] != 0).all()


def test_missing_labels_are_minus_one_and_classes_can_be_given():
    data = make(sick=["b", None, "a", "b", "a", None])
    assert data.classes == ("a", "b")
    assert data.y.tolist() == [1, -1, 0, 1, 0, -1]
    ordered = WindowDataset(data.signals, data.metadata, CHANNELS, target="sick", classes=("b", "a"))
    assert ordered.y.tolist() == [0, -1, 1, 0, 1, -1]
    assert ordered.select([2]).classes == ("b", "a")
    assert data.with_target("trial").classes == (0, 1)
    assert data.with_target(None).y is None
    assert make(sick=[1, "x", 1, "x", 1, "x"]).classes == (1, "x")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.booleans(), min_size=6, max_size=6))
def test_selections_of_selections(positions, mask):
    data = make()
    for which in (positions, np.array(mask), np.array(positions, dtype=int)):
        part = data.select(which)
        expected = np.arange(6)[np.asarray(which, dtype=None if len(which) else int)]
        assert np.array_equal(part.numpy(), data.signals[expected])
        assert part.metadata["sick"].tolist() == data.metadata["sick"].to_numpy()[expected].tolist()
        assert part.classes == data.classes
        assert np.array_equal(part.select(np.arange(len(part)))[:].x.numpy(), data.signals[expected])


def test_selection_by_query_and_its_errors():
    data = make()
    assert data.select("patient == 1 and sick == 1").rows.tolist() == [3, 5]
    for query in ("nobody == 1", "patient ==", "patient = 1"):
        with pytest.raises(DataError, match="does not fit the columns"):
            data.select(query)


def test_selecting_shares_the_signals():
    data = make()
    assert data.select([1, 2]).signals is data.signals


def test_shapes_that_disagree():
    x, table = np.zeros((3, 2, 8), "float32"), pd.DataFrame({"patient": [0, 1, 2], "trial": [0, 1, 2]})
    for bad in (x[0], x[None]):
        with pytest.raises(DataError, match=r"expected \(windows, channels, times\)"):
            WindowDataset(bad, table, CHANNELS)
    with pytest.raises(DataError, match="3 windows but 2 rows of metadata"):
        WindowDataset(x, table.iloc[:2], CHANNELS)
    with pytest.raises(DataError, match="signals have 1 channels but 2"):
        WindowDataset(x[:, :1], table, CHANNELS)
    with pytest.raises(DataError, match="no column 'session'"):
        WindowDataset(x, table, CHANNELS, levels=("session",))
    with pytest.raises(DataError, match="no column 'age'"):
        WindowDataset(x, table, CHANNELS, target="age")


def test_concatenation():
    data = make()
    joined = WindowDataset.concat([data.select([0, 1]), data.select([5])])
    assert np.array_equal(joined.numpy(), data.signals[[0, 1, 5]])
    assert joined.metadata["patient"].tolist() == [0, 0, 1]
    assert (joined.levels, joined.target) == (data.levels, "sick")
    with pytest.raises(DataError, match="list of data sets is empty"):
        WindowDataset.concat([])


def test_concatenation_keeps_the_order_of_the_classes():
    data = make()
    ordered = WindowDataset(data.signals, data.metadata, CHANNELS, target="sick", classes=(1, 0))
    joined = WindowDataset.concat([ordered.select([0]), ordered.select([1])])
    assert joined.y.tolist() == [1, 0]
    assert joined.classes == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("I", "V1")}, r"missing channels \['II'\]; additional channels \['V1'\]"),
        ({"names": ("II", "I")}, "the same channels in another order"),
        ({"sfreq": 8.0}, "sampling rate 8 Hz instead of 4 Hz"),
        ({"unit": "uV"}, "unit 'uV' instead of 'mV'"),
    ],
)
def test_concatenation_of_other_channels(change, message):
    data = make()
    info = {"names": CHANNELS.names, "types": CHANNELS.types, "unit": "mV", "sfreq": 4.0, **change}
    with pytest.raises(DataError, match=f"data set 1 cannot be joined to data set 0: .*{message}"):
        WindowDataset.concat([data, WindowDataset(data.signals, data.metadata, Channels(**info), target="sick")])


def test_concatenation_of_other_lengths_and_levels():
    data = make()
    with pytest.raises(DataError, match="4 times a window instead of 8"):
        WindowDataset.concat([data, WindowDataset(data.signals[:, :, :4], data.metadata, CHANNELS)])
    with pytest.raises(DataError, match=r"levels \('patient',\)"):
        WindowDataset.concat([data, WindowDataset(data.signals, data.metadata, CHANNELS, ("patient",))])


def test_saved_and_opened(tmp_path):
    data = make(onset=np.arange(6) / 2).select([5, 0, 3])
    opened = WindowDataset.open(data.save(tmp_path / "set"))
    assert isinstance(opened.signals, np.memmap)
    assert np.array_equal(opened.numpy(), data.numpy())
    pd.testing.assert_frame_equal(opened.metadata, data.metadata)
    assert (opened.channels, opened.levels, opened.target) == (data.channels, data.levels, "sick")
    assert np.array_equal(opened[[2]].x, data[[2]].x)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_saving_keeps_the_classes(tmp_path):
    data = make()
    ordered = WindowDataset(data.signals, data.metadata, CHANNELS, target="sick", classes=(1, 0))
    assert WindowDataset.open(ordered.save(tmp_path / "set")).y.tolist() == ordered.y.tolist()


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(DataNotFoundError, match="store.json is missing"):
        WindowDataset.open(tmp_path)
    with pytest.raises(DataNotFoundError, match="store.json is missing"):
        WindowDataset.open(tmp_path / "nowhere")
    folder = make().save(tmp_path / "set")
    text = (folder / "store.json").read_text()
    (folder / "store.json").write_text(json.dumps({**json.loads(text), "format_version": 99}))
    with pytest.raises(DataError, match="has format 99"):
        WindowDataset.open(folder)
    (folder / "store.json").write_text(text)
    signals = folder / "signals.0.bin"
    signals.write_bytes(signals.read_bytes()[:150])
    with pytest.raises(DataError, match="is damaged: signals.0.bin has 150 bytes, its 6 windows need 384"):
        WindowDataset.open(folder)
    (folder / "store.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        WindowDataset.open(folder)
    with pytest.raises(DataError, match="no windows to save"):
        make().select([]).save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_of_the_first_format_is_to_be_prepared_again(tmp_path):
    (tmp_path / "dataset.json").write_text('{"format_version": 1}')
    with pytest.raises(DataError, match="has format 1, this version reads 2: prepare it again"):
        WindowDataset.open(tmp_path)


def test_a_memory_map_goes_to_another_process_by_its_name(tmp_path):
    data = WindowDataset.open(make(600).save(tmp_path / "set")).select(np.arange(590))
    sent = pickle.dumps(data)
    assert b"signals.0.bin" in sent
    assert len(sent) < data.signals.nbytes
    received = pickle.loads(sent)
    assert isinstance(received.signals, np.memmap)
    assert np.array_equal(received.numpy(), data.numpy())
    in_memory = pickle.loads(pickle.dumps(make()))
    assert np.array_equal(in_memory.numpy(), make().numpy())
