"""``tscl embed`` for a run on a long series: a table with a row a time step."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from tscl.cli.embed import check_table, write_table
from tscl.cli.run import open_run, path_options
from tscl.evaluation import embed_series
from tscl.evaluation.contexts import device_for


def embed_steps(
    run: Path,
    out: Path,
    path: Path | None = None,
    context: int = 200,
    method: Literal["auto", "one_pass", "sliding"] = "auto",
    batch_size: int = 256,
    accelerator: str = "auto",
) -> None:
    """Write one row a time step: its date, the part that it is in (train, val, test), and the embedding.

    Args:
        run: Folder of a finished run.
        out: Table to write, .parquet or .csv.
        path: File of another series with as many variables; that of the run by default.
        context: Steps before its own that an embedding sees.
        method: Embed in one pass (causal encoders) or every window on its own (sliding).
        batch_size: Windows a batch, for sliding.
        accelerator: auto, cpu or gpu.
    """
    check_table(out)
    opened = open_run(run, path_options(path))
    task = opened.data
    embeddings = embed_series(
        opened.encoder,
        task.x,
        context=context,
        method=method,
        batch_size=batch_size,
        device=device_for(accelerator),
        progress=True,
    )
    parts = np.full(len(embeddings), "none", dtype=object)
    for name, part in task.parts.by_name.items():
        parts[part] = name
    write_table(pd.DataFrame({"date": task.series.times, "part": parts}), embeddings, out, "time steps")
