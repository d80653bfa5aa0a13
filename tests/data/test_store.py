import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from itertools import islice
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Channels, StoreWriter, WindowDataset, WindowStore
from tscl.data.loading import eval_loader
from tscl.data.store import layout
from tscl.data.store import writer as writer_module
from tscl.data.store.layout import join, table_of
from tscl.data.store.remote import RemoteSignals
from tscl.errors import DataError, DataNotFoundError

CHANNELS = Channels(("I", "II"), ("ecg", "ecg"), "mV", 4.0)
LEVELS = ("patient", "trial")


def windows(seed, n=3, n_times=8):
    return np.random.default_rng(seed).normal(size=(n, 2, n_times)).astype("float32")


def table(patient, n=3, **columns):
    return pd.DataFrame({"patient": [f"P{patient}"] * n, "trial": [str(i) for i in range(n)], **columns})


def fill(folder, patients, n_times=8, **options):
    with StoreWriter(folder, LEVELS, **options) as writer:
        for patient in patients:
            x = windows(patient, n_times=n_times)
            writer.append(x, table(patient), CHANNELS, key=f"k{patient}", source=f"P{patient}.edf")


@pytest.fixture
def commits(monkeypatch):
    """A commit behind every source."""
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)


def test_appended_and_opened_again(tmp_path):
    fill(tmp_path / "store", [0, 1])
    fill(tmp_path / "store", [2])
    store = WindowStore(tmp_path / "store")
    assert isinstance(store.signals, np.memmap)
    np.testing.assert_array_equal(store.signals, np.concatenate([windows(i) for i in range(3)]))
    assert store.metadata["patient"].tolist() == ["P0"] * 3 + ["P1"] * 3 + ["P2"] * 3
    assert store.sources["source"].tolist() == ["P0.edf", "P1.edf", "P2.edf"]
    assert sorted(p.name for p in (tmp_path / "store" / "index.0").iterdir()) == ["000000", "000001"]
    raw = (tmp_path / "store" / "signals.0.bin").read_bytes()
    assert raw == np.concatenate([windows(i) for i in range(3)]).astype("<f4").tobytes()
    store.verify()


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), max_size=4), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 3),
)
def test_any_sequence_of_appends_is_their_concatenation(tmp_path_factory, sessions, always, merged):
    folder = tmp_path_factory.mktemp("store") / "store"
    parts = [part for session in sessions for part in session if part[0]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "COMMIT_SECONDS", 0.0 if always else 1e9)
        patch.setattr(writer_module, "MERGED", merged)
        number = 0
        for session in sessions:
            with StoreWriter(folder, LEVELS) as writer:
                for n, n_times in session:
                    writer.append(windows(number, n, n_times), table(number, n), CHANNELS, key=str(number))
                    number += 1
                if writer.info is not None:
                    writer.merge()
    if not parts:
        return
    longest = max(n_times for _, n_times in parts)
    expected, numbers = [], []
    for number, (n, n_times) in enumerate(part for session in sessions for part in session):
        expected += [np.pad(x, ((0, 0), (0, longest - n_times)), constant_values=np.nan)
                     for x in windows(number, n, n_times)]  # fmt: skip
        numbers += [f"P{number}"] * n
    store = WindowStore(folder)
    np.testing.assert_array_equal(store.signals, expected)
    assert store.metadata["patient"].tolist() == numbers
    store.verify()


def test_longer_windows_lengthen_those_that_are_there(tmp_path, commits):
    folder = tmp_path / "store"
    fill(folder, [0, 1], n_times=5)
    before = WindowStore(folder)
    fill(folder, [2], n_times=8)
    after = WindowStore(folder)
    assert after.signals.shape == (9, 2, 8)
    np.testing.assert_array_equal(after.signals[:6, :, :5], np.concatenate([windows(i, n_times=5) for i in (0, 1)]))
    assert np.isnan(after.signals[:6, :, 5:]).all()
    np.testing.assert_array_equal(after.signals[6:], windows(2))
    after.verify()
    np.testing.assert_array_equal(before.signals[:3], windows(0, n_times=5))
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "index.1", "signals.1.bin", "store.json"]


def test_many_parts_are_merged(tmp_path, commits):
    folder = tmp_path / "store"
    fill(folder, range(20))
    before = WindowStore(folder)
    assert len(list((folder / "index.0").iterdir())) == 20
    with StoreWriter(folder, LEVELS) as writer:
        writer.merge()
    assert [p.name for p in (folder / "index.1").iterdir()] == ["000000"]
    assert not (folder / "index.0").exists()
    after = WindowStore(folder)
    pd.testing.assert_frame_equal(after.metadata, before.metadata)
    pd.testing.assert_frame_equal(after.sources, before.sources)
    fill(folder, [20])
    assert len(WindowStore(folder)) == 63


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, None], [1.0, np.nan]),
        ([1, 2.5], [1.0, 2.5]),
        (["A", 7], ["A", "7"]),
        ([None, "A"], [None, "A"]),
        ([True, False], [True, False]),
        ([True, "x"], ["True", "x"]),
    ],
)
def test_labels_of_parts_are_joined_as_if_they_were_one_table(values, expected):
    parts = [table_of(pd.DataFrame({"a": [value], "b": [0]}) if value is not None else pd.DataFrame({"b": [0]}))
             for value in values]  # fmt: skip
    joined = join(parts).to_pandas()
    pd.testing.assert_series_equal(joined["a"], pd.Series(expected, name="a"))
    whole = table_of(pd.DataFrame({"a": values})).to_pandas()
    assert whole["a"].astype(str).tolist() == joined["a"].astype(str).tolist()


def run_python(code, *arguments):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    setup = (
        "import os, sys, time\nimport numpy as np, pandas as pd\nfrom tscl.data import Channels, StoreWriter\n"
        "from tscl.data.store import writer as module\n"
        f"CHANNELS = Channels(('I', 'II'), ('ecg', 'ecg'), 'mV', 4.0)\nLEVELS = {LEVELS!r}\n"
    )
    command = [sys.executable, "-c", setup + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


KILLED = """
    table = pd.DataFrame({"patient": ["P1"] * 3, "trial": list("012")})
    with StoreWriter(sys.argv[1], LEVELS) as writer:
        def stop(folder):
            print("bytes are there", flush=True)
            time.sleep(60)
        module.synced_folder = stop
        writer.append(np.ones((3, 2, 8), "float32"), table, CHANNELS, key="k1", source="P1.edf")
        writer.commit()
"""


def test_killed_between_the_bytes_and_the_index(tmp_path):
    folder = tmp_path / "store"
    fill(folder, [0])
    process = run_python(KILLED, folder)
    assert process.stdout.readline() == "bytes are there\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    signals = folder / "signals.0.bin"
    assert signals.stat().st_size == 2 * windows(0).nbytes
    np.testing.assert_array_equal(WindowStore(folder).signals, windows(0))
    with StoreWriter(folder, LEVELS) as writer:
        assert signals.stat().st_size == windows(0).nbytes
        assert writer.keys() == {"k0"}
    fill(folder, [1])
    store = WindowStore(folder)
    np.testing.assert_array_equal(store.signals, np.concatenate([windows(0), windows(1)]))
    store.verify()


def test_killed_while_the_signals_are_written_anew(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    fill(folder, [0, 1])

    def stop(signals):
        signals[:] = 0
        raise KeyboardInterrupt

    with StoreWriter(folder, LEVELS) as writer, pytest.raises(KeyboardInterrupt):
        writer.rewrite(stop)
    assert (folder / "signals.1.bin").exists()
    np.testing.assert_array_equal(WindowStore(folder).signals, np.concatenate([windows(0), windows(1)]))
    with StoreWriter(folder, LEVELS):
        assert not (folder / "signals.1.bin").exists()
    WindowStore(folder).verify()


def test_an_interrupted_append_is_overwritten_by_the_next(tmp_path):
    folder = tmp_path / "store"
    with StoreWriter(folder, LEVELS) as writer:
        writer.append(windows(0), table(0), CHANNELS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writer_module.zlib, "crc32", lambda data: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                writer.append(windows(1), table(1), CHANNELS)
        writer.append(windows(2), table(2), CHANNELS)
    store = WindowStore(folder)
    np.testing.assert_array_equal(store.signals, np.concatenate([windows(0), windows(2)]))
    store.verify()


def test_a_truncated_file_and_a_damaged_index_are_told(tmp_path):
    fill(tmp_path / "store", [0, 1])
    signals = tmp_path / "store" / "signals.0.bin"
    content = signals.read_bytes()
    signals.write_bytes(content[:-4])
    for attempt in (WindowStore, lambda folder: StoreWriter(folder, LEVELS).__enter__()):
        with pytest.raises(DataError, match=r"signals\.0\.bin has 380 bytes, its .*windows need 384"):
            attempt(tmp_path / "store")
    signals.write_bytes(content)
    index = tmp_path / "store" / "index.0" / "000000" / "windows.parquet"
    whole = index.read_bytes()
    index.write_bytes(whole[:60])
    with pytest.raises(DataError, match="is damaged"):
        WindowStore(tmp_path / "store")
    index.unlink()
    with pytest.raises(DataError, match="is damaged"):
        WindowStore(tmp_path / "store")
    (index.parent / "sources.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is damaged"):
        StoreWriter(tmp_path / "store", LEVELS).__enter__()


def test_a_flipped_bit_is_found_and_the_recording_named(tmp_path):
    fill(tmp_path / "store", [0, 1, 2])
    signals = tmp_path / "store" / "signals.0.bin"
    content = bytearray(signals.read_bytes())
    content[len(content) // 2] ^= 1
    signals.write_bytes(content)
    with pytest.raises(DataError, match=r"the windows of P1\.edf are damaged \(1 of 3 sources\)"):
        WindowStore(tmp_path / "store").verify()


SECOND = """
    import logging
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sys.stdout.reconfigure(line_buffering=True)
    with StoreWriter(sys.argv[1], LEVELS) as writer:
        print("has it with", writer.n_windows)
"""


def test_one_writer_at_a_time_and_the_second_waits(tmp_path):
    folder = tmp_path / "store"
    with StoreWriter(folder, LEVELS) as writer:
        process = run_python(SECOND, folder)
        assert "another process writes to" in process.stdout.readline()
        writer.append(windows(0), table(0), CHANNELS)
    out, err = process.communicate(timeout=60)
    assert out == "has it with 3\n", err


def test_readers_see_whole_commits_while_a_writer_appends_and_merges(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "MERGED", 3)
    fill(folder, [0])
    stopped, problems, seen = threading.Event(), [], set()

    def read():
        while not stopped.is_set():
            try:
                data = WindowDataset.open(folder)
                seen.add(len(data))
                number = len(data) // 3 - 1
                assert len(data) % 3 == 0
                np.testing.assert_array_equal(data[[-1]].x.numpy(), windows(number)[-1:])
                assert data.metadata["patient"].iloc[-1] == f"P{number}"
            except Exception as error:
                problems.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with StoreWriter(folder, LEVELS) as writer:
        for patient in range(1, 60):
            writer.append(windows(patient), table(patient), CHANNELS, key=f"k{patient}")
            if patient % 5 == 0:
                writer.merge()
    stopped.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert len(seen) > 2


def test_what_does_not_fit_is_refused(tmp_path):
    folder = tmp_path / "store"
    fill(folder, [0], recipe="one")
    with pytest.raises(DataError, match="prepared in another way"):
        StoreWriter(folder, LEVELS, recipe="two").__enter__()
    with pytest.raises(DataError, match="prepared in another way"):
        StoreWriter(folder, ("patient",), recipe="one").__enter__()
    other = Channels(("I", "V1"), ("ecg", "ecg"), "mV", 4.0)
    with StoreWriter(folder, LEVELS, recipe="one") as writer, pytest.raises(DataError, match=r"missing channels.*'II'"):
        writer.append(windows(1), table(1), other)
    with StoreWriter(folder, LEVELS, recipe="one") as writer:
        writer.rewrite(lambda signals: None, unit="a.u.")
        with pytest.raises(DataError, match="scaled by id when it was finished"):
            writer.append(windows(1), table(1), CHANNELS)
    assert WindowStore(folder).info.channels.unit == "a.u."
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        StoreWriter(tmp_path / "file" / "store", LEVELS).__enter__()


def test_a_store_without_windows_says_so(tmp_path):
    with StoreWriter(tmp_path / "store", LEVELS) as writer:
        writer.append(None, None, None, key="a", source="a.edf", skipped=[("a.edf", "it is empty", True)])
    with pytest.raises(DataNotFoundError, match=r"store\.json is missing"):
        WindowStore(tmp_path / "store")
    with StoreWriter(tmp_path / "store", LEVELS) as writer:
        writer._append_bytes(windows(0), CHANNELS)
    with pytest.raises(DataError, match="holds no window yet"):
        WindowStore(tmp_path / "store")


def test_what_was_left_out_is_kept_and_replaced_when_it_is_tried_again(tmp_path):
    with StoreWriter(tmp_path / "store", LEVELS) as writer:
        writer.append(None, None, None, key="a", source="a.edf", skipped=[("a.edf", "it is empty", True)])
        writer.append(None, None, None, key="b", source="b.edf", skipped=[("b.edf", "the recipe says so", False)])
        writer.append(windows(0), table(0), CHANNELS, key="c", source="c.edf")
        writer.commit()
        assert writer.keys() == {"b", "c"}
        assert writer.keys(failed=True) == {"a", "b", "c"}
    store = WindowStore(tmp_path / "store")
    assert store.left_out() == [("a.edf", "it is empty"), ("b.edf", "the recipe says so")]
    assert store.left_out(failed=True) == [("a.edf", "it is empty")]
    assert store.left_out(["b"]) == [("b.edf", "the recipe says so")]
    with StoreWriter(tmp_path / "store", LEVELS) as writer:
        writer.append(windows(1), table(1), CHANNELS, key="a", source="a.edf")
    assert WindowStore(tmp_path / "store").left_out() == [("b.edf", "the recipe says so")]


@pytest.fixture
def remote(tmp_path):
    """The same store here and in fsspec's file system in memory."""
    fill(tmp_path / "store", range(4))
    fs = fsspec.filesystem("memory")
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            fs.pipe(f"/bucket/store/{path.relative_to(tmp_path / 'store').as_posix()}", path.read_bytes())
    yield WindowDataset.open(tmp_path / "store"), fs
    fs.rm("/bucket", recursive=True)


def test_a_store_behind_a_url_is_read_by_ranges(remote, monkeypatch):
    here, fs = remote
    there = WindowDataset.open("memory://bucket/store")
    assert isinstance(there.signals, RemoteSignals)
    pd.testing.assert_frame_equal(there.metadata, here.metadata)
    asked = []
    cat_ranges = type(fs).cat_ranges

    def counted(self, paths, starts, ends, **options):
        asked.append(list(zip(starts, ends, strict=True)))
        return cat_ranges(self, paths, starts, ends, **options)

    monkeypatch.setattr(type(fs), "cat_ranges", counted)
    size = 2 * 8 * 4
    for rows in ([5, 4, 11, 6, 5], slice(2, 5), np.arange(12) % 2 == 0, 7, -1, []):
        np.testing.assert_array_equal(there.signals[rows], here.signals[rows])
    assert asked[0] == [(4 * size, 7 * size), (11 * size, 12 * size)]
    assert asked[1] == [(2 * size, 5 * size)]
    np.testing.assert_array_equal(there.select("patient == 'P2'").numpy(), windows(2))
    np.testing.assert_array_equal(there[[3, 0]].x, here[[3, 0]].x)
    WindowStore("memory://bucket/store").verify()
    monkeypatch.setattr("tscl.data.store.remote.SMALL", 3 * size)
    np.testing.assert_array_equal(there.signals[:], here.signals)
    assert asked[-1] == [(start * size, (start + 3) * size) for start in (0, 3, 6, 9)]


def test_damage_behind_a_url_is_found(remote):
    _, fs = remote
    content = bytearray(fs.cat("/bucket/store/signals.0.bin"))
    content[-1] ^= 1
    fs.pipe("/bucket/store/signals.0.bin", bytes(content))
    with pytest.raises(DataError, match=r"the windows of P3\.edf are damaged"):
        WindowStore("memory://bucket/store").verify()
    opened = WindowStore("memory://bucket/store")
    fs.pipe("/bucket/store/signals.0.bin", bytes(content[:-8]))
    with pytest.raises(DataError, match="ends before byte"):
        opened.signals[11]
    with pytest.raises(DataError, match="is damaged"):
        WindowStore("memory://bucket/store")
    with pytest.raises(DataNotFoundError, match="memory://bucket/nothing is not a saved window data set"):
        WindowStore("memory://bucket/nothing")


def test_a_file_url_is_a_memory_map(tmp_path):
    fill(tmp_path / "store", [0])
    data = WindowDataset.open(f"file://{tmp_path}/store")
    assert isinstance(data.signals, np.memmap)
    np.testing.assert_array_equal(data.numpy(), windows(0))


def test_many_workers_read_one_store(tmp_path):
    fill(tmp_path / "store", range(6))
    data = WindowDataset.open(tmp_path / "store")
    x = np.concatenate([batch.x.numpy() for batch in eval_loader(data, 4, num_workers=2)])
    np.testing.assert_array_equal(x, np.concatenate([windows(i) for i in range(6)]))


def test_the_description_is_plain_json(tmp_path):
    fill(tmp_path / "store", [0], target="trial", classes=("b", "a"))
    said = json.load(io.StringIO((tmp_path / "store" / "store.json").read_text()))
    assert said["format_version"] == 2
    assert (said["levels"], said["n_times"], said["classes"]) == (["patient", "trial"], 8, ["b", "a"])


def test_a_merge_is_the_same_table_in_row_groups_that_stay_small(tmp_path, commits, monkeypatch):
    monkeypatch.setattr(layout, "GROUP", 7)
    folder = tmp_path / "store"
    fill(folder, range(20))
    before = WindowStore(folder)
    with StoreWriter(folder, LEVELS) as writer:
        writer.merge()
        assert len(list(writer.sources)) == 20
    after = WindowStore(folder)
    assert after.info.index == "index.1"
    pd.testing.assert_frame_equal(after.metadata, before.metadata)
    pd.testing.assert_frame_equal(after.sources, before.sources)
    after.verify()
    with pq.ParquetFile(folder / "index.1" / "000000" / "windows.parquet") as merged:
        rows = [merged.metadata.row_group(i).num_rows for i in range(merged.num_row_groups)]
    assert rows == [9, 9, 9, 9, 9, 9, 6]


def test_an_interrupted_merge_leaves_the_store_and_the_next_writer_goes_on(tmp_path, commits, monkeypatch):
    folder = tmp_path / "store"
    fill(folder, range(20))
    before = WindowStore(folder)
    write_rows = writer_module.write_rows

    def stopped(tables, schema, out):
        write_rows(islice(tables, 2), schema, out)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "write_rows", stopped)
        with pytest.raises(KeyboardInterrupt), StoreWriter(folder, LEVELS) as writer:
            writer.merge()
    pd.testing.assert_frame_equal(WindowStore(folder).metadata, before.metadata)
    with StoreWriter(folder, LEVELS) as writer:
        writer.append(windows(20), table(20), CHANNELS, key="k20", source="P20.edf")
        writer.merge()
    after = WindowStore(folder)
    assert after.sources["key"].tolist() == [f"k{i}" for i in range(21)]
    assert [p.name for p in folder.glob("index.*")] == ["index.1"]
    after.verify()
