import functools
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tscl.data.prepare import prepare, prepare_store
from tscl.data.preprocessing import (
    BandPass,
    FixedTrials,
    PickChannels,
    Preprocessing,
    RecordingSkipped,
    Resample,
    Scale,
    SlidingWindows,
)  # fmt: skip
from tscl.data.readers import read_npz
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.data.store import StoreWriter, WindowStore, writer
from tscl.errors import ConfigError, DataError, DataNotFoundError

LEVELS = ("patient", "recording", "trial")
CUT = Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(1.0, 0.5))
quiet = functools.partial(prepare, levels=LEVELS, progress=False)


def write(folder, name, *, sfreq=20, seconds=6, names=("a", "b"), fill=None):
    data = np.random.default_rng(sum(name.encode())).normal(size=(len(names), int(sfreq * seconds))).astype(np.float32)
    if fill is not None:
        data[0, 3] = fill
    path = Path(folder) / f"{name}.npz"
    np.savez(path, X=data, sfreq=sfreq, ch_names=list(names))
    return path, data


@pytest.fixture
def cohort(tmp_path):
    sources, arrays = [], []
    for patient in ("P1", "P2", "P3"):
        for run in (1, 2):
            path, data = write(tmp_path, f"{patient}_{run}")
            sources.append(
                Source(path, {"patient": patient, "recording": f"{patient}_{run}"}, {"sick": patient == "P1"})
            )
            arrays.append(data)
    return sources, arrays


def leave_out_p2(recording):
    if recording.ids["patient"] == "P2":
        raise RecordingSkipped(f"{recording.source}: the recipe leaves it out.")
    return recording


def three_parts(path):
    whole = read_npz(path)
    return [
        Recording(whole.data[:, i * 40 : (i + 1) * 40], whole.channels, {"trial": f"t{i}"}, {"part": i})
        for i in range(3)
    ]


def test_windows_and_table_in_the_order_of_the_sources(cohort):
    sources, arrays = cohort
    data = quiet(sources, CUT, target="sick")
    assert data.shape == (6 * 3 * 3, 2, 20)
    expected = [a[:, t * 40 + w * 10 : t * 40 + w * 10 + 20] for a in arrays for t in range(3) for w in range(3)]
    np.testing.assert_array_equal(data.numpy(), expected)
    table = data.metadata
    assert table["patient"].iloc[[0, 17, 18]].tolist() == ["P1", "P1", "P2"]
    assert table["trial"].unique().tolist()[:4] == ["P1_1/000", "P1_1/001", "P1_1/002", "P1_2/000"]
    np.testing.assert_allclose(table["onset"][:9], [0, 0.5, 1, 2, 2.5, 3, 4, 4.5, 5])
    assert table["source"].iloc[0] == sources[0].path
    assert data.y.tolist() == [1] * 18 + [0] * 36
    assert len(set(zip(data.codes("trial"), data.codes("recording"), strict=True))) == 18
    assert list(data.skipped) == []


def test_two_workers_give_the_same(cohort):
    sources, _ = cohort
    chain = Preprocessing([BandPass(1, 8), Resample(10)], FixedTrials(2.0), [Scale()], SlidingWindows(1.0))
    one, two = quiet(sources, chain), quiet(sources, chain, n_jobs=2)
    np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert one.metadata.equals(two.metadata)
    assert two.channels.unit == "a.u."


def test_trials_of_unequal_length_are_padded(tmp_path):
    sources = []
    for name, seconds in (("x", 2), ("y", 3)):
        path, _ = write(tmp_path, name, seconds=seconds)
        sources.append(Source(path, {"patient": name, "recording": name}))
    data = quiet(sources, Preprocessing())
    assert data.shape == (2, 2, 60)
    assert np.isnan(data.numpy()[0, :, 40:]).all()
    assert np.isfinite(data.numpy()[1]).all()


def test_trial_ids_are_unique_without_a_recording_level_and_kept_where_given(cohort):
    sources, _ = cohort
    by_patient = [Source(s.path, {"patient": s.ids["patient"]}) for s in sources]
    data = prepare(by_patient, CUT, levels=("patient", "trial"), progress=False)
    assert data.metadata["trial"].nunique() == 18
    assert data.metadata["trial"].unique().tolist()[:6] == [f"P1/{i:03d}" for i in range(6)]
    given = prepare([Source(s.path, s.ids, reader=three_parts) for s in sources[:1]], Preprocessing(), levels=LEVELS)
    assert given.metadata["trial"].tolist() == ["t0", "t1", "t2"]
    assert given.metadata["part"].tolist() == [0, 1, 2]


def test_scale_by_patient(cohort):
    sources, arrays = cohort
    chain = Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(2.0), scale_by="patient")
    data = quiet(sources, chain)
    assert data.channels.unit == "a.u."
    for code in range(3):
        values = data.numpy()[data.codes("patient") == code].transpose(1, 0, 2).reshape(2, -1)
        raw = np.concatenate(arrays[2 * code : 2 * code + 2], axis=1)
        low, middle, high = np.percentile(raw.astype(float), [25, 50, 75], axis=1)
        np.testing.assert_allclose(values, (raw - middle[:, None]) / (high - low)[:, None], atol=1e-5)
    with pytest.raises(ConfigError, match="scale_by='site' is no level"):
        quiet(sources, Preprocessing(scale_by="site"))


def test_labels_missing_for_some_and_of_mixed_type(cohort):
    sources, _ = cohort
    mixed = [Source(s.path, s.ids, {"site": site} if site is not None else {"notes": ["x"]})
             for s, site in zip(sources, ["A", 7, None, None, None, None], strict=True)]  # fmt: skip
    data = quiet(mixed, CUT, target="site")
    assert data.classes == ("7", "A")
    assert sorted(set(data.y.tolist())) == [-1, 0, 1]
    assert "notes" not in data.metadata


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"names": ("a", "c")},
            r"odd\.npz does not fit .*P1_1\.npz: missing channels \['b'\]; additional channels \['c'\]",
        ),
        ({"names": ("b", "a")}, "same channels in another order"),
        ({"sfreq": 40}, r"odd\.npz does not fit .*40 Hz instead of 20 Hz.*Resample"),
        ({"fill": np.inf}, r"odd\.npz: .*infinite"),
        ({"seconds": 1}, r"odd\.npz: the recording lasts 1 s"),
    ],
)
def test_one_odd_file(cohort, tmp_path, caplog, change, said):
    sources, _ = cohort
    path, _ = write(tmp_path, "odd", **change)
    sources = [*sources, Source(path, {"patient": "P9", "recording": "P9_1"})]
    with pytest.raises(DataError, match=said):
        quiet(sources, CUT)
    with caplog.at_level(logging.WARNING, logger="tscl"):
        data = quiet(sources, CUT, on_error="skip")
    assert data.shape[0] == 54
    ((source, reason),) = data.skipped
    assert source == str(path)
    assert "odd.npz" in reason
    assert "1 recordings left out" in caplog.text


def test_other_order_is_unified_by_picking(cohort, tmp_path):
    sources, arrays = cohort
    path, data = write(tmp_path, "odd", names=("b", "z", "a"))
    both = [sources[0], Source(path, {"patient": "P9", "recording": "P9_1"})]
    unified = quiet(both, Preprocessing(steps=[PickChannels(["a", "b"])]))
    np.testing.assert_array_equal(unified.numpy(), [arrays[0], data[[2, 0]]])


def test_errors(cohort, tmp_path):
    sources, _ = cohort
    with pytest.raises(DataError, match="list of sources is empty"):
        quiet([], CUT)
    with pytest.raises(ConfigError, match="on_error"):
        quiet(sources, CUT, on_error="ignore")
    with pytest.raises(DataError, match=r"P1_1\.npz has no id for the levels \['site'\]"):
        prepare(sources, CUT, levels=("site", "trial"), progress=False)
    with pytest.raises(DataError, match="no column 'age'"):
        quiet(sources, CUT, target="age")
    with pytest.raises(DataNotFoundError, match="nowhere"):
        quiet([Source(tmp_path / "nowhere.edf", {"patient": "x", "recording": "x"})], CUT)
    with pytest.raises(DataError, match="no recording of 6 sources could be used; the first reason.*P1_1"):
        quiet(sources, Preprocessing(windows=SlidingWindows(100.0)), on_error="skip")
    with pytest.raises(DataError, match="expected a Recording"):
        Source(sources[0].path, reader=lambda path: [path]).load()


def test_what_the_recipe_leaves_out_is_no_error_but_listed(cohort, tmp_path):
    sources, _ = cohort
    chain = Preprocessing(steps=[leave_out_p2], windows=SlidingWindows(1.0))
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        data = quiet(sources, chain, cache=cache)
        assert data.metadata["patient"].unique().tolist() == ["P1", "P3"]
        assert [Path(source).stem for source, _ in data.skipped] == ["P2_1", "P2_2"]


def test_cache_is_used_and_keyed_by_content_and_parameters(cohort, tmp_path, monkeypatch):
    sources, _ = cohort
    cache = tmp_path / "cache"
    first = quiet(sources, CUT, cache=cache, target="sick")
    assert isinstance(first.signals, np.memmap)
    np.testing.assert_array_equal(first.numpy(), quiet(sources, CUT).numpy())
    monkeypatch.setattr(Source, "load", lambda self: pytest.fail("read again"))
    again = quiet(sources, CUT, cache=cache)
    assert again.y is None
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    monkeypatch.undo()
    write(tmp_path, "P1_1", seconds=8)
    quiet(sources, CUT, cache=cache)
    quiet(sources, Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(1.0)), cache=cache)
    (tmp_path / "P1_1.atr").write_text("an annotation file beside it")
    quiet(sources, CUT, cache=cache)
    assert len(list(cache.iterdir())) == 4


def test_damaged_cache_says_what_to_do(cohort, tmp_path):
    sources, _ = cohort
    quiet(sources, CUT, cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "index.0" / "000000" / "sources.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged.*delete it"):
        quiet(sources, CUT, cache=tmp_path / "cache")


def test_on_disk_it_is_as_in_memory(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)
    sources, _ = cohort
    path, _ = write(tmp_path, "long", seconds=9)
    sources = [*sources[:3], Source(path, {"patient": "P2", "recording": "long"}, {"age": 7}), *sources[3:]]
    for chain in (
        Preprocessing(),
        Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(1.0), scale_by="patient"),
        Preprocessing(scale_by="patient"),
    ):
        at_once = quiet(sources, chain, target="sick")
        on_disk = quiet(sources, chain, target="sick", cache=tmp_path / "cache")
        np.testing.assert_array_equal(on_disk.numpy(), at_once.numpy())
        assert on_disk.metadata.equals(at_once.metadata)
        assert on_disk.channels == at_once.channels
        np.testing.assert_array_equal(on_disk.y, at_once.y)
        WindowStore(Path(on_disk.signals.filename).parent).verify()


def test_a_store_gets_what_it_does_not_hold_unless_it_is_scaled(cohort, tmp_path, loaded):
    sources, arrays = cohort
    raw = functools.partial(prepare_store, preprocessing=CUT, levels=LEVELS, progress=False)
    raw(tmp_path / "raw", sources[:4])
    loaded.clear()
    data = raw(tmp_path / "raw", sources, target="sick")
    assert loaded == [source.path for source in sources[4:]]
    assert len(data) == 54
    chain = Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(2.0), scale_by="patient")
    scaled = functools.partial(prepare_store, preprocessing=chain, levels=LEVELS, progress=False)
    first = scaled(tmp_path / "scaled", sources[:4])
    loaded.clear()
    again = scaled(tmp_path / "scaled", sources[:4])
    assert loaded == []
    np.testing.assert_array_equal(again.numpy(), first.numpy())
    with pytest.raises(DataError, match="scaled by patient when it was finished, and 2 recordings are new"):
        scaled(tmp_path / "scaled", sources)


def test_memory_does_not_grow_with_the_number_of_recordings(tmp_path):
    peaks = []
    for count in (4, 40):
        sources = []
        for number in range(count):
            path, data = write(tmp_path, f"{count}_{number}", sfreq=1000, seconds=100)
            sources.append(Source(path, {"patient": str(number), "recording": path.stem}))
        tracemalloc.start()
        on_disk = quiet(sources, Preprocessing(windows=SlidingWindows(1.0)), cache=tmp_path / "cache")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert on_disk.signals.nbytes == 40 * data.nbytes
    assert peaks[1] < peaks[0] + 4 * data.nbytes


def run_python(code, *arguments, **kwargs):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs
    )


SLOW = """
    import sys, time, json
    import numpy as np
    from tscl.data.preprocessing import Preprocessing, FixedTrials, SlidingWindows
    from tscl.data.prepare import prepare
    from tscl.data.sources import Source
    from tscl.data.store import StoreWriter, writer

    writer.COMMIT_SECONDS = 0.0
    sources = [Source(p, {"patient": str(i), "recording": str(i)}) for i, p in enumerate(json.loads(sys.argv[1]))]
    commit = StoreWriter.commit
    def slow_commit(self):
        commit(self)
        if len(list(self.sources)) == 4:
            print("committed", flush=True)
            time.sleep(float(sys.argv[3]))
    StoreWriter.commit = slow_commit
    data = prepare(sources, Preprocessing(trials=FixedTrials(2.0), windows=SlidingWindows(1.0, 0.5)),
                   levels=("patient", "recording", "trial"), cache=sys.argv[2], progress=False)
    print(len(data), float(np.nansum(data.numpy().astype(float))))
"""


def shown(folder):
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@pytest.fixture
def loaded(monkeypatch):
    """The paths of the sources that are read from now on."""
    paths, load = [], Source.load
    monkeypatch.setattr(Source, "load", lambda self: paths.append(self.path) or load(self))
    return paths


def test_killed_in_the_middle_of_writing_goes_on_there(cohort, tmp_path, loaded):
    sources, arrays = cohort
    cache = tmp_path / "cache"
    process = run_python(SLOW, json.dumps([s.path for s in sources]), cache, 60)
    assert process.stdout.readline() == "committed\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert shown(cache) == []
    same = [Source(s.path, {"patient": str(i), "recording": str(i)}) for i, s in enumerate(sources)]
    data = quiet(same, CUT, cache=cache)
    assert loaded == [source.path for source in same[4:]]
    assert len(list(cache.iterdir())) == 1
    at_once = quiet(same, CUT)
    np.testing.assert_array_equal(data.numpy(), at_once.numpy())
    assert data.metadata.equals(at_once.metadata)


def test_interrupt_while_writing_shows_no_set_and_goes_on(cohort, tmp_path, monkeypatch, loaded):
    sources, _ = cohort
    append, cache = StoreWriter.append, tmp_path / "cache"

    def interrupted(self, *arguments, **options):
        append(self, *arguments, **options)
        if options["source"] == sources[2].path:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quiet(sources, CUT, cache=cache)
    assert shown(cache) == []
    loaded.clear()
    assert len(quiet(sources, CUT, cache=cache)) == 54
    assert loaded == [source.path for source in sources[3:]]
    assert len(list(cache.iterdir())) == 1


def test_a_recording_that_cannot_be_used_leaves_nothing_in_the_cache(cohort, tmp_path):
    path, _ = write(tmp_path, "odd", sfreq=40)
    sources = [*cohort[0], Source(path, {"patient": "P9", "recording": "P9_1"})]
    with pytest.raises(DataError, match="40 Hz"):
        quiet(sources, CUT, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(quiet(sources, CUT, cache=tmp_path / "cache", on_error="skip").skipped) == 1
    with pytest.raises(DataError, match="odd.*40 Hz"):
        quiet(sources, CUT, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_two_processes_prepare_the_same_set_at_once(cohort, tmp_path):
    sources, _ = cohort
    cache = tmp_path / "cache"
    pair = [run_python(SLOW, json.dumps([s.path for s in sources]), cache, 1.0) for _ in range(2)]
    said = []
    for process in pair:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        said.append(out.splitlines()[-1])
    assert said[0] == said[1]
    assert len(list(cache.iterdir())) == 1


FULL = """
    import resource, signal, sys
    from tscl.data.preprocessing import Preprocessing
    from tscl.data.prepare import prepare
    from tscl.data.sources import Source
    from tscl.errors import DataError

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        source = Source(sys.argv[1], {"patient": "p"})
        prepare([source], Preprocessing(), levels=("patient", "trial"), cache=sys.argv[2], progress=False)
    except DataError as error:
        print(error)
"""


def test_full_disk(tmp_path):
    path, _ = write(tmp_path, "a", seconds=60)
    cache = tmp_path / "cache"
    out, err = run_python(FULL, path, cache, 600).communicate(timeout=60)
    assert "could not be written" in out, err
    assert "free space" in out
    assert shown(cache) == []
    assert (
        len(prepare([Source(path, {"patient": "p"})], Preprocessing(), levels=("patient", "trial"), cache=cache)) == 1
    )
    assert len(list(cache.iterdir())) == 1


def test_yaml_builds_the_chain():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Preprocessing, "pre")
    steps = "tscl.data.preprocessing."
    config = {
        "pre": {
            "steps": [
                {"class_path": steps + "PickChannels", "init_args": {"names": ["a", "b"]}},
                {"class_path": steps + "BandPass", "init_args": {"low": 0.5, "high": 8}},
            ],
            "trials": {"class_path": steps + "FixedTrials", "init_args": {"seconds": 5}},
            "trial_steps": [{"class_path": steps + "Scale", "init_args": {"method": "robust"}}],
            "windows": {"seconds": 1.0, "overlap": 0.5},
            "scale_by": "patient",
        }
    }
    built = parser.instantiate_classes(parser.parse_object(config)).pre
    assert built == Preprocessing(
        [PickChannels(["a", "b"]), BandPass(0.5, 8.0)],
        FixedTrials(5.0),
        [Scale("robust")],
        SlidingWindows(1.0, 0.5),
        "patient",
    )


def test_simulated_sources_need_no_file():
    channels = Channels(("a",), ("eeg",), "uV", 10.0)
    source = Source("simulated 1", {"patient": "1"}, reader=functools.partial(_simulate, channels))
    assert prepare([source], Preprocessing(), levels=("patient", "trial"), progress=False).shape == (1, 1, 50)


def _simulate(channels, path):
    return Recording(np.ones((1, 50)), channels)


def test_eegmat_in_the_ad_geometry(shared_data, tmp_path):
    files = sorted((shared_data / "eegmat").glob("*.edf"))[:4]
    sources = [Source(p, {"patient": p.stem.split("_")[0], "recording": p.stem}, {"task": p.stem[-1]}) for p in files]
    chain = Preprocessing(
        [PickChannels(types=["eeg"]), BandPass(0.5, 45.0)], FixedTrials(5.0), [Scale()], SlidingWindows(1.0, 0.5)
    )
    begun = time.perf_counter()
    data = quiet(sources, chain, target="task", cache=tmp_path)
    assert time.perf_counter() - begun < 30
    assert data.shape == (4 * 12 * 9, 20, 250)
    assert np.isfinite(data.numpy()).all()
