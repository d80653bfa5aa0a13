"""Windows on disk: the format, the loader against reading recordings, and ten thousand recordings.

    python benchmarks/speed/store.py formats [--windows 20000] [--root EDF_FOLDER]
    python benchmarks/speed/store.py opening [--windows 1000000]
    python benchmarks/speed/store.py loaders --root EDF_FOLDER [--files 20]
    python benchmarks/speed/store.py recordings [--recordings 10000] [--folder SCRATCH]

``formats`` reads random windows from a flat file and, where it is installed, from zarr; cold means that the system was
asked to forget the file first. ``opening`` makes a store of a million small windows and opens it. ``loaders``
gives the same random batches from a store, from the recordings through ``mne`` and, where it is installed, through
braindecode's lazy windows, and compares the values. ``recordings`` prepares more and more small files, each number in a
process of its own, and prints time, memory until the last window is written, memory with the table of all windows, and
the exponents with which they grow (1 is linear, 0 is flat).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import resident
from torch.utils.data import DataLoader, Dataset

from tscl.data import Channels, Preprocessing, Source, StoreWriter, WindowDataset, WindowStore, prepare
from tscl.data.preprocessing import SlidingWindows

BATCH = 64
SECONDS = 2.0
ROUNDS = 3
LEVELS = ("patient", "recording", "trial")
GROWING = ("seconds", "cpu", "windows", "prepare", "table")


def batches(n: int, count: int, seed: int) -> list[list[int]]:
    """Random windows, in batches."""
    return np.random.default_rng(seed).integers(0, n, (count, BATCH)).tolist()


def per_second(read: Callable[[Sequence[int]], Any], chosen: list[list[int]]) -> float:
    """Windows per second."""
    begun = time.perf_counter()
    for rows in chosen:
        read(rows)
    return len(chosen) * BATCH / (time.perf_counter() - begun)


def forget(path: Path) -> None:
    """Ask the system to take the files below ``path`` out of its cache."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def size(path: Path) -> float:
    """MB on disk."""
    return sum(p.stat().st_blocks * 512 for p in path.rglob("*") if p.is_file()) / 2**20


def signals(args: argparse.Namespace, n: int) -> np.ndarray:
    """Windows of EEG, 16 channels x 256 steps; noise without recordings."""
    if args.root is None:
        return np.random.default_rng(0).normal(size=(n, 16, 256)).astype("float32")
    from tscl.data.readers import read

    parts: list[np.ndarray] = []
    for path in sorted(args.root.glob("*.edf")):
        data = read(str(path)).data[:16]
        whole = data[:, : data.shape[1] // 256 * 256].reshape(16, -1, 256)
        parts.append(whole.transpose(1, 0, 2))
        if sum(map(len, parts)) >= n:
            break
    return np.ascontiguousarray(np.concatenate(parts)[:n])


def flat_store(x: np.ndarray, folder: Path) -> None:
    channels = Channels(tuple(f"c{i}" for i in range(x.shape[1])), ("eeg",) * x.shape[1], "uV", 250.0)
    table = pd.DataFrame({"patient": np.arange(len(x)) // 1000, "recording": np.arange(len(x)) // 100, "trial": "0"})
    WindowDataset(x, table.astype(str), channels, LEVELS).save(folder)


def zarr_arrays() -> dict[str, dict[str, Any]]:
    import numcodecs.blosc
    import zarr

    numcodecs.blosc.use_threads = False

    plain = {"compressors": None}
    packed = {"compressors": zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")}
    return {
        "zarr, a window a chunk, shards of 1024": {"chunks": 1, "shards": 1024, **plain},
        "zarr, 64 windows a chunk": {"chunks": 64, **plain},
        "zarr, a window a chunk, shards of 1024, zstd": {"chunks": 1, "shards": 1024, **packed},
        "zarr, 64 windows a chunk, zstd": {"chunks": 64, **packed},
    }


def write_zarr(x: np.ndarray, folder: Path, chunks: int, shards: int | None = None, **options: Any) -> None:
    import zarr

    inner = (chunks, *x.shape[1:])
    outer = None if shards is None else (shards, *x.shape[1:])
    made = zarr.create_array(str(folder), shape=x.shape, dtype="f4", chunks=inner, shards=outer, **options)
    made[:] = x


def formats(args: argparse.Namespace) -> None:
    """Random windows per second, cold and warm, bytes on disk."""
    n = args.windows or 20000
    x = signals(args, n)
    print(f"{len(x)} windows of {x.shape[1]} x {x.shape[2]}, {x.nbytes / 2**20:.0f} MB, batches of {BATCH}")
    print("| format | MB on disk | seconds to write | windows/s, cold | windows/s, warm |\n|---|---|---|---|---|")
    makers: dict[str, tuple[Callable[[Path], None], Callable[[Path], Callable[[Sequence[int]], Any]]]] = {
        "flat file (tscl)": (lambda p: flat_store(x, p), open_flat)
    }
    if importlib.util.find_spec("zarr") is None:
        print("| zarr | - | - | not installed | - |")
    else:
        for name, options in zarr_arrays().items():
            makers[name] = (lambda p, o=options: write_zarr(x, p, **o), open_zarr)
    for name, (write, opened) in makers.items():
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            folder = Path(scratch) / "windows"
            begun = time.perf_counter()
            write(folder)
            wrote = time.perf_counter() - begun
            few = 20
            cold = []
            for number in range(ROUNDS):
                forget(folder)
                cold.append(per_second(opened(folder), batches(len(x), few, number)))
            read = opened(folder)
            for rows in batches(len(x), 3, 99):
                assert np.array_equal(np.asarray(read(rows)), x[rows])
            for file in (p for p in folder.rglob("*") if p.is_file()):
                file.read_bytes()
            warm = [per_second(read, batches(len(x), few, 50 + number)) for number in range(ROUNDS)]
            print(
                f"| {name} | {size(folder):.0f} | {wrote:.1f} | {statistics.median(cold):,.0f} | "
                f"{statistics.median(warm):,.0f} |",
                flush=True,
            )


def open_flat(folder: Path) -> Callable[[Sequence[int]], Any]:
    data = WindowDataset.open(folder)
    return lambda rows: data[rows].x.numpy()


def open_zarr(folder: Path) -> Callable[[Sequence[int]], Any]:
    import zarr

    array = zarr.open_array(str(folder), mode="r")
    return lambda rows: array.oindex[rows]


def opening(args: argparse.Namespace) -> None:
    """Seconds until a million windows are open."""
    n = args.windows or 1_000_000
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        folder = Path(scratch) / "store"
        each = 100
        x = np.random.default_rng(0).normal(size=(each, 2, 64)).astype("float32")
        channels = Channels(("a", "b"), ("eeg", "eeg"), "uV", 64.0)
        begun = time.perf_counter()
        with StoreWriter(folder, LEVELS) as writer:
            for number in range(n // each):
                name = f"P{number // 10:05d}/session_{number % 10}"
                table = pd.DataFrame(
                    {"patient": name.split("/")[0], "recording": name, "trial": [f"{name}/{i // 10:03d}" for i in
                     range(each)], "age": number % 80, "onset": np.arange(each) * 0.5, "source": f"/data/{name}.edf"}
                )  # fmt: skip
                writer.append(x, table, channels, key=f"{number:032x}", source=f"/data/{name}.edf")
        print(f"writing {n} windows of 2 x 64 from {n // each} sources took {time.perf_counter() - begun:.1f} s")
        index, whole = size(folder / "index.0"), size(folder)
        print(f"signals {whole - index:.0f} MB, index {index:.1f} MB ({index * 2**20 / n:.1f} bytes a window)")
        took, mapped = [], []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            data = WindowDataset.open(folder)
            took.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            np.memmap(folder / "signals.0.bin", "<f4", "r", shape=data.shape)[n - 1].sum()
            mapped.append(time.perf_counter() - begun)
        print(
            f"open: {statistics.median(took):.2f} s, of which the memory map {statistics.median(mapped) * 1e3:.2f} ms"
        )
        begun = time.perf_counter()
        data.codes("trial")
        print(f"ids of all levels as integers: {time.perf_counter() - begun:.2f} s")
        print(f"memory with the table: {resident():.0f} MB")
        if importlib.util.find_spec("zarr") is not None:
            import zarr

            x = np.asarray(data.signals)
            write_zarr(x, Path(scratch) / "z", 1, 4096, compressors=None)
            times = []
            for _ in range(ROUNDS):
                begun = time.perf_counter()
                zarr.open_array(str(Path(scratch) / "z"), mode="r")[n - 1].sum()
                times.append(time.perf_counter() - begun)
            print(f"zarr array of them, opened and one window read: {statistics.median(times) * 1e3:.2f} ms")


class PlainMne(Dataset):
    """Windows that are read from the recordings when they are asked for, as anybody would write it."""

    def __init__(self, paths: Sequence[Path], windows: list[tuple[int, int]], length: int) -> None:
        import mne

        self.raws = [mne.io.read_raw_edf(path, preload=False, verbose="error") for path in paths]
        self.windows, self.length = windows, length

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> torch.Tensor:
        file, start = self.windows[index]
        return torch.from_numpy((self.raws[file].get_data(start=start, stop=start + self.length) * 1e6).astype("f4"))


class Lazy(Dataset):
    """Braindecode's windows on recordings that are not preloaded, in microvolts."""

    def __init__(self, paths: Sequence[Path], length: int) -> None:
        import mne
        from braindecode.datasets import BaseConcatDataset, RawDataset
        from braindecode.preprocessing import create_fixed_length_windows

        raws = [mne.io.read_raw_edf(path, preload=False, verbose="error") for path in paths]
        whole = BaseConcatDataset([RawDataset(raw, {"number": i}, target_name=None) for i, raw in enumerate(raws)])
        self.windows = create_fixed_length_windows(
            whole, window_size_samples=length, window_stride_samples=length, drop_last_window=True, preload=False
        )

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.windows[index][0].astype("f4") * np.float32(1e6))


def loaders(args: argparse.Namespace) -> None:
    """Windows per second through a DataLoader."""
    paths = sorted(args.root.glob("*.edf"))[: args.files]
    sources = [Source(path, {"patient": path.stem, "recording": path.stem}) for path in paths]
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        begun = time.perf_counter()
        data = prepare(
            sources, Preprocessing(windows=SlidingWindows(SECONDS)), levels=LEVELS, cache=scratch, progress=False
        )
        took = time.perf_counter() - begun
        n, c, length = data.shape
        print(
            f"{n} windows of {c} x {length} from {len(paths)} EDF files, prepared in {took:.1f} s; batches of {BATCH}"
        )
        file = data.metadata["source"].map({str(path): i for i, path in enumerate(paths)})
        starts = (data.metadata["onset"] * data.channels.sfreq).round().astype(int)
        windows = list(zip(file, starts, strict=True))
        sides: dict[str, Callable[[list[list[int]], int], DataLoader]] = {
            "store (tscl)": lambda rows, workers: DataLoader(data, batch_size=None, sampler=rows, num_workers=workers),
            "mne, not preloaded": lambda rows, workers: DataLoader(
                PlainMne(paths, windows, length), batch_sampler=rows, num_workers=workers
            ),
        }
        if importlib.util.find_spec("braindecode") is None:
            print("braindecode is not installed: its row is left out")
        else:
            lazy = Lazy(paths, length)
            assert len(lazy) == n
            sides["braindecode, lazy windows"] = lambda rows, workers: DataLoader(
                lazy, batch_sampler=rows, num_workers=workers
            )
        check = batches(n, 4, 0)
        expected = [np.asarray(data.signals[rows]) for rows in check]
        speeds: dict[tuple[str, int], float] = {}
        for name, make in sides.items():
            for got, want in zip(make(check, 0), expected, strict=True):
                values = (got if isinstance(got, torch.Tensor) else got.x).numpy()
                np.testing.assert_allclose(values, want, rtol=1e-5, atol=1e-4 * want.std())
            for workers in (0, 2):
                rounds = []
                for number in range(ROUNDS):
                    rows = batches(n, args.batches if "tscl" not in name else 20 * args.batches, number + 1)
                    loader = iter(make(rows, workers))
                    next(loader)
                    begun = time.perf_counter()
                    read = sum(len(batch) for batch in loader)
                    rounds.append(read / (time.perf_counter() - begun))
                speeds[name, workers] = statistics.median(rounds)
    print(
        "values are equal\n\n| | windows/s, 0 workers | ratio | windows/s, 2 workers | ratio |\n|---|---|---|---|---|"
    )
    for name in sides:
        cells = [f"{speeds[name, w]:,.0f} | {speeds['store (tscl)', w] / speeds[name, w]:.1f}" for w in (0, 2)]
        print(f"| {name} | {' | '.join(cells)} |")


def recordings(args: argparse.Namespace) -> None:
    """Time and memory of preparing more and more files."""
    most = args.recordings
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        rng = np.random.default_rng(0)
        for number in range(most):
            data = rng.normal(size=(4, 2000)).astype("float32")
            np.savez(Path(scratch) / f"{number:06d}.npz", X=data, sfreq=100.0, ch_names=list("abcd"))
        print(
            "| recordings | where | seconds | of a processor | MB of windows | MB to prepare | MB with the table |\n"
            "|---|---|---|---|---|---|---|"
        )
        for where in ("store", "memory"):
            done: list[dict[str, float]] = []
            for count in (most // 10, most * 3 // 10, most):
                command = [sys.executable, __file__, "one", "--folder", scratch, "--recordings", str(count)]
                said = subprocess.run([*command, "--where", where], check=True, capture_output=True, text=True).stdout
                done.append(json.loads(said.splitlines()[-1]))
                row = done[-1]
                print(f"| {count} | {where} | " + " | ".join(f"{row[name]:.1f}" for name in GROWING) + " |", flush=True)
            for name in GROWING:
                grows = math.log(done[-1][name] / done[0][name]) / math.log(done[-1]["count"] / done[0]["count"])
                print(f"{name} ({where}) grows with exponent {grows:.2f}")


def high() -> float:
    """The most memory that was held since the last look at it was reset, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def one(args: argparse.Namespace) -> None:
    """One number of recordings, in a process of its own."""
    paths = sorted(args.folder.glob("*.npz"))[: args.recordings]
    sources = [Source(p, {"patient": p.stem[:5], "recording": p.stem}, {"sick": int(p.stem) % 2}) for p in paths]
    recipe = Preprocessing(windows=SlidingWindows(1.0))
    warm = args.folder / f"warm-{os.getpid()}"
    for cache in (None, warm):
        prepare(sources[:3], recipe, levels=LEVELS, cache=cache, progress=False)
    shutil.rmtree(warm)
    cache = args.folder / f"cache-{os.getpid()}" if args.where == "store" else None
    opened, until_written = WindowStore.__init__, []

    def noted(self: WindowStore, folder: Path) -> None:
        until_written.append(high())
        opened(self, folder)

    WindowStore.__init__ = noted
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")
    begun, worked = time.perf_counter(), time.process_time()
    data = prepare(sources, recipe, levels=LEVELS, cache=cache, progress=False)
    took, cpu = time.perf_counter() - begun, time.process_time() - worked
    n, c, t = data.shape
    until_written.append(high())
    row = {"count": len(paths), "seconds": took, "cpu": cpu, "windows": n * c * t * 4 / 2**20}
    row |= {"prepare": until_written[0] - before, "table": high() - before}
    if cache is not None:
        shutil.rmtree(cache)
    print(json.dumps(row))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["formats", "opening", "loaders", "recordings", "one"])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--windows", type=int)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--recordings", type=int, default=10000)
    parser.add_argument("--folder", type=Path, help="scratch space")
    parser.add_argument("--where", default="store")
    options = parser.parse_args()
    globals()[options.part](options)
