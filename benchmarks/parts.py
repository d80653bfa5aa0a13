"""What ``run.py`` measures: the parts, and the targets that their figures are held against.

A new benchmark is one line in ``PARTS``. Its script takes ``--json FILE`` and writes what ``keep`` of
``speed/measuring.py`` writes; ``{data}`` and ``{reference}`` in its arguments stand for the folders that are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

GIVE = {
    "reference": "`--reference DIR`, a checkout of the authors' code (DL4mHealth/COMET)",
    "data": "`--data DIR`, a folder that holds `eegmat/*.edf` and `ett/ETTh1.csv`",
}


@dataclass(frozen=True)
class Part:
    """One run of a script, whose result is a file of its name.

    Attributes
    ----------
    name : str
    title : str
        Heading on the page.
    script : str
        Below ``benchmarks/``.
    full, quick : str
        Arguments of the measurement, and of one that only tries the script.
    """

    name: str
    title: str
    script: str
    full: str
    quick: str = ""

    def inputs(self, quick: bool) -> list[str]:
        """Return which folders must be given."""
        return [one for one in GIVE if f"{{{one}}}" in (self.quick if quick else self.full)]

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return "--device cuda" in self.full


@dataclass(frozen=True)
class Target:
    """What a figure should reach.

    Attributes
    ----------
    part, what, unit : str
        Which line of which part.
    text : str
        The target in words.
    side : {"ours", "ratio"}
        Whether our median is meant, or how many times better than the other's it is.
    least, most : float, optional
        Bounds, included.
    """

    part: str
    what: str
    unit: str
    text: str
    side: Literal["ours", "ratio"] = "ratio"
    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool:
        """Return whether the median keeps to the bounds."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


LOSSES, COMET, BRAIN, STORE = (f"speed/{name}.py" for name in ("loss_memory", "comet_step", "brain_step", "store"))
LOADERS, RECORDINGS, CAUSAL = (f"speed/{name}.py" for name in ("store_loaders", "store_recordings", "causal_encode"))
AUTOTCL, DDP = (f"speed/{name}.py" for name in ("autotcl_step", "ddp"))
ETT = "--path {data}/ett/ETTh1.csv"
SMALL_STEP = "--batch 8 --times 32 --steps 1 --warmup 0 --rounds 1"
SMALL_BRAIN = "--batch 4 --channels 8 --virtual 8 --hidden 16 --features 8 --times 60 --steps 1 --warmup 0 --rounds 1"
SMALL_DDP = "--batch 16 --depth 1 --steps 2 --warmup 1 --rounds 1"
SMALL_LOSS = "--losses info_nce --smallest 256 --largest 512 --repeats 1"

PARTS = [
    Part("loss_memory", "Pair losses", LOSSES, "--smallest 4096", SMALL_LOSS),
    Part(
        "loss_memory_cuda",
        "Pair losses on a GPU",
        LOSSES,
        "--device cuda --dtype bf16 --dim 256 --losses info_nce --smallest 65536 --largest 262144",
        "--device cuda --dtype bf16 " + SMALL_LOSS,
    ),
    Part(
        "comet_step",
        "COMET's training step",
        COMET,
        "--reference {reference} --batch 256 --steps 1 --rounds 3",
        "--reference {reference} --depth 2 " + SMALL_STEP,
    ),
    Part(
        "comet_step_bf16",
        "COMET's training step in bf16",
        COMET,
        "--reference {reference} --precision bf16 --batch 256 --steps 1 --rounds 2",
        "--reference {reference} --precision bf16 --depth 2 " + SMALL_STEP,
    ),
    Part(
        "comet_step_cuda",
        "COMET's training step on a GPU",
        COMET,
        "--reference {reference} --device cuda --precision bf16 --batch 256 --steps 10 --warmup 3",
        "--reference {reference} --device cuda --precision bf16 --depth 2 " + SMALL_STEP,
    ),
    Part("autotcl_step", "AutoTCL's training step", AUTOTCL, "", "--batch 4 --depth 1 --dim 8 --steps 1 --rounds 1"),
    Part("brain_step", "The brain model's training step", BRAIN, "--batch 16", SMALL_BRAIN),
    Part(
        "brain_loader",
        "The brain model through its loader",
        BRAIN,
        "--loader --batch 64 --channels 102 --virtual 24 --hidden 48 --features 40 --subjects 6",
        "--loader --subjects 2 " + SMALL_BRAIN,
    ),
    Part(
        "brain_step_cuda",
        "The brain model's training step on a GPU",
        BRAIN,
        "--device cuda --precision bf16",
        "--device cuda --precision bf16 " + SMALL_BRAIN,
    ),
    Part(
        "causal_encode",
        "Every step of a long series",
        CAUSAL,
        ETT + " --windows 512",
        ETT + " --windows 16 --dims 8 --repeats 1",
    ),
    Part("ddp", "Two processes", DDP, "", SMALL_DDP),
    Part("ddp_ring", "Two processes in a ring", DDP, "--across ring", "--across ring " + SMALL_DDP),
    Part("store_formats", "Formats on disk", STORE, "formats --root {data}/eegmat", "formats --windows 256"),
    Part("store_opening", "A million windows", STORE, "opening", "opening --windows 2000"),
    Part(
        "store_loaders",
        "Windows through a loader",
        LOADERS,
        "--root {data}/eegmat --files 20",
        "--root {data}/eegmat --files 2 --batches 2",
    ),
    Part("store_recordings", "Ten thousand recordings", RECORDINGS, "", "--recordings 20"),
]

HUGE, MANY = "info_nce, N = 262,144", "1,000 to 10,000 recordings, store"
MNE, BRAINDECODE = (f"{{}} workers; other: {name}" for name in ("mne, not preloaded", "braindecode, lazy windows"))
CONVOLUTIONS = "encoder, forward and backward", "% of the rate of its convolutions alone"
PRODUCT = "% of the rate of a matrix product"

TARGETS = [
    Target("loss_memory", "info_nce, N = 16,384", "MB", "under 256 MB", "ours", most=256),
    Target("loss_memory", "info_nce, N = 16,384", "s", "at most 1.3 times the plain time", least=1 / 1.3),
    Target("loss_memory", "observation, N = 8,192", "MB", "under 1 GB", "ours", most=1024),
    Target("loss_memory_cuda", HUGE, "MB", "under 4 GB (D = 256, H200)", "ours", most=4096),
    Target("loss_memory_cuda", HUGE, PRODUCT, "half or more (D = 256, H200)", "ours", least=50),
    Target("comet_step", "B = 256", "s a step", "4 times", least=4),
    Target("comet_step", "B = 256", "MB, default allocator", "a fifth", least=5),
    Target("comet_step", *CONVOLUTIONS, "80 % or more", "ours", least=80),
    Target("comet_step_bf16", "B = 256", "s a step", "8 times", least=8),
    Target("comet_step_cuda", "B = 256", "s a step", "15 times (H200)", least=15),
    *[Target("store_loaders", MNE.format(n), "windows/s", "5 times", least=5) for n in (0, 2)],
    *[Target("store_loaders", BRAINDECODE.format(n), "windows/s", "5 times", least=5) for n in (0, 2)],
    Target("store_recordings", MANY, "exponent of MB to prepare", "flat: about 0", "ours", most=0.1),
    Target("store_recordings", MANY, "exponent of s", "linear: about 1", "ours", most=1.1),
]


def value_of(row: dict[str, Any], side: str) -> list[float]:
    """Return our figure of every round, or how many times better it is than the other's."""
    if side == "ours":
        return row["ours"]
    ours, other = row["ours"], row["other"]
    rounds = max(len(ours), len(other))
    pairs = zip(*(one * rounds if len(one) == 1 else one for one in (ours, other)), strict=True) if other else ()
    return [a / b if row["more"] else b / a for a, b in pairs]
