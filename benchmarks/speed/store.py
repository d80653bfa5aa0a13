"""Windows on disk: the format, and a million windows.

    python benchmarks/speed/store.py formats [--windows 20000] [--root EDF_FOLDER]
    python benchmarks/speed/store.py opening [--windows 1000000]

``formats`` reads random windows from a flat file and, where it is installed, from zarr; cold means that the system was
asked to forget the file first. ``opening`` makes a store of a million small windows and opens it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import figure, keep, resident

from tscl.data import Channels, StoreWriter, WindowDataset

BATCH = 64
ROUNDS = 3
NAMED = "named in the line"
LEVELS = ("patient", "recording", "trial")


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
    how = (
        f"{len(x)} windows of {x.shape[1]} x {x.shape[2]} ({'noise' if args.root is None else 'EEG'}), "
        f"{x.nbytes / 2**20:.0f} MB, random batches of {BATCH}, {ROUNDS} rounds"
    )
    print(how)
    print("| format | MB on disk | seconds to write | windows/s, cold | windows/s, warm |\n|---|---|---|---|---|")
    makers: dict[str, tuple[Callable[[Path], None], Callable[[Path], Callable[[Sequence[int]], Any]]]] = {
        "flat file (tscl)": (lambda p: flat_store(x, p), open_flat)
    }
    if importlib.util.find_spec("zarr") is None:
        print("| zarr | - | - | not installed | - |")
    else:
        for name, options in zarr_arrays().items():
            makers[name] = (lambda p, o=options: write_zarr(x, p, **o), open_zarr)
    done = {}
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
            done[name] = {"cold": cold, "warm": warm, "disk": [size(folder)], "write": [wrote]}
            print(
                f"| {name} | {size(folder):.0f} | {wrote:.1f} | {statistics.median(cold):,.0f} | "
                f"{statistics.median(warm):,.0f} |",
                flush=True,
            )
    flat, *others = done
    units = {"cold": "windows/s, cold", "warm": "windows/s, warm", "disk": "MB on disk", "write": "s to write"}
    rows = [
        figure(f"{flat}; other: {other}", unit, done[flat][key], done[other][key], more="windows/s" in unit)
        for other in others
        for key, unit in units.items()
    ]
    keep(args.json, how, rows or [figure(flat, unit, done[flat][key]) for key, unit in units.items()], NAMED)


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
        wrote = time.perf_counter() - begun
        print(f"writing {n} windows of 2 x 64 from {n // each} sources took {wrote:.1f} s")
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
        codes = time.perf_counter() - begun
        print(f"ids of all levels as integers: {codes:.2f} s")
        print(f"memory with the table: {resident():.0f} MB")
        name, times = f"{n:,} windows", []
        if importlib.util.find_spec("zarr") is not None:
            import zarr

            x = np.asarray(data.signals)
            write_zarr(x, Path(scratch) / "z", 1, 4096, compressors=None)
            for _ in range(ROUNDS):
                begun = time.perf_counter()
                zarr.open_array(str(Path(scratch) / "z"), mode="r")[n - 1].sum()
                times.append(time.perf_counter() - begun)
            print(f"zarr array of them, opened and one window read: {statistics.median(times) * 1e3:.2f} ms")
    milliseconds = [[1e3 * one for one in side] for side in (mapped, times)]
    rows = [
        figure(f"{name}, written", "s", [wrote]),
        figure(f"{name}, index", "bytes a window", [index * 2**20 / n]),
        figure(f"{name}, opened with the table", "s", took),
        figure(f"{name}, signals alone opened and one window read", "ms", *milliseconds),
        figure(f"{name}, ids of all levels as integers", "s", [codes]),
    ]
    keep(args.json, f"2 channels x 64 steps from {n // each} sources; {ROUNDS} rounds", rows, "a zarr array")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["formats", "opening"])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--windows", type=int)
    parser.add_argument("--folder", type=Path, help="scratch space")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    options = parser.parse_args()
    globals()[options.part](options)
