"""Windows through a loader: from a store, and from recordings that are read when a window is asked for.

    python benchmarks/speed/store_loaders.py --root EDF_FOLDER [--files 20]

The same random batches come from a store through ``BatchLoader``, and from recordings through torch's ``DataLoader``:
by ``mne`` and, where it is installed, by braindecode's lazy windows. Each without workers and with two; the values are
compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import figure, keep
from store import BATCH, LEVELS, NAMED, ROUNDS, batches
from torch.utils.data import DataLoader, Dataset

from tscl.data import Preprocessing, Source, prepare
from tscl.data.loading import BatchLoader, read_ahead
from tscl.data.preprocessing import SlidingWindows

SECONDS = 2.0


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
    """Measure windows per second, print them, and keep them."""
    paths = sorted(args.root.glob("*.edf"))[: args.files]
    sources = [Source(path, {"patient": path.stem, "recording": path.stem}) for path in paths]
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        begun = time.perf_counter()
        data = prepare(
            sources, Preprocessing(windows=SlidingWindows(SECONDS)), levels=LEVELS, cache=scratch, progress=False
        )
        took = time.perf_counter() - begun
        n, c, length = data.shape
        how = f"{n} windows of {c} x {length} from {len(paths)} EDF files; random batches of {BATCH}, {ROUNDS} rounds"
        print(f"{how}; prepared in {took:.1f} s")
        file = data.metadata["source"].map({str(path): i for i, path in enumerate(paths)})
        starts = (data.metadata["onset"] * data.channels.sfreq).round().astype(int)
        windows = list(zip(file, starts, strict=True))
        sides: dict[str, Callable[[list[list[int]], int], DataLoader]] = {
            "store (tscl)": lambda rows, workers: BatchLoader(
                read_ahead(data, workers), batch_size=None, sampler=rows, num_workers=workers
            ),
            "mne, not preloaded": lambda rows, workers: DataLoader(
                PlainMne(paths, windows, length), batch_sampler=rows, num_workers=workers
            ),
        }
        if importlib.util.find_spec("braindecode") is None:
            print("braindecode is not installed: its row is left out")
            how += "; braindecode was not installed"
        else:
            lazy = Lazy(paths, length)
            assert len(lazy) == n
            sides["braindecode, lazy windows"] = lambda rows, workers: DataLoader(
                lazy, batch_sampler=rows, num_workers=workers
            )
        check = batches(n, 4, 0)
        expected = [np.asarray(data.signals[rows]) for rows in check]
        rounds: dict[tuple[str, int], list[float]] = {}
        for name, make in sides.items():
            for workers in (0, 2):
                for got, want in zip(make(check, workers), expected, strict=True):
                    values = (got if isinstance(got, torch.Tensor) else got.x).numpy()
                    np.testing.assert_allclose(values, want, rtol=1e-5, atol=1e-4 * want.std())
                rounds[name, workers] = []
                for number in range(ROUNDS):
                    rows = batches(n, args.batches if "tscl" not in name else 20 * args.batches, number + 1)
                    loader = iter(make(rows, workers))
                    next(loader)
                    begun = time.perf_counter()
                    read = sum(len(batch) for batch in loader)
                    rounds[name, workers].append(read / (time.perf_counter() - begun))
    print(
        "values are equal\n\n| | windows/s, 0 workers | ratio | windows/s, 2 workers | ratio |\n|---|---|---|---|---|"
    )
    speeds = {key: statistics.median(values) for key, values in rounds.items()}
    for name in sides:
        cells = [f"{speeds[name, w]:,.0f} | {speeds['store (tscl)', w] / speeds[name, w]:.1f}" for w in (0, 2)]
        print(f"| {name} | {' | '.join(cells)} |")
    ours, *others = sides
    rows = [
        figure(
            f"{workers} workers; other: {other}", "windows/s", rounds[ours, workers], rounds[other, workers], more=True
        )
        for other in others
        for workers in (0, 2)
    ]
    keep(args.json, how, rows, NAMED)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--batches", type=int, default=60, help="that the others read; a store reads 20 times as many")
    parser.add_argument("--folder", type=Path, help="scratch space")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results for benchmarks/run.py")
    loaders(parser.parse_args())
