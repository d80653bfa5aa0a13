"""``tscl embed``: recordings in, a table of embeddings out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tscl.cli.run import open_run, root_options
from tscl.errors import ConfigError
from tscl.evaluation import embed
from tscl.evaluation.contexts import device_for
from tscl.files import atomic_file


def embed_run(
    run: Path,
    out: Path,
    root: Path | None = None,
    pooling: str = "max",
    batch_size: int = 256,
    accelerator: str = "auto",
) -> None:
    """Write one row a window: its ids, labels, onset (s), file, the side of the split it stood on, and the embedding.

    A run on a long series gives one row a time step: ``tscl embed --run RUN --help`` shows the options of a run.

    Args:
        run: Folder of a finished run.
        out: Table to write, .parquet or .csv.
        root: Folder of recordings of the same kind; those of the run by default.
        pooling: How the embeddings are pooled over time.
        batch_size: Windows a batch.
        accelerator: auto, cpu or gpu.
    """
    check_table(out)
    opened = open_run(run, root_options(root, run))
    embeddings = embed(
        opened.encoder,
        opened.data,
        pooling=pooling,
        batch_size=batch_size,
        device=device_for(accelerator),
        progress=True,
    )
    table = opened.data.metadata.assign(split=_sides(opened.data.metadata, opened.manifest))
    write_table(table, embeddings, out, "windows")


def check_table(out: Path) -> None:
    """Refuse a file that is no table by its name.

    Raises
    ------
    ConfigError
    """
    if out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}: write to .parquet or .csv.")


def write_table(table: pd.DataFrame, embeddings: np.ndarray, out: Path, rows: str) -> None:
    """Write a table with the embeddings (n, D) beside it, all or nothing, and say how many ``rows`` there are."""
    names = [f"embedding_{i:03d}" for i in range(embeddings.shape[1])]
    table = pd.concat([table, pd.DataFrame(embeddings, columns=names)], axis=1)
    with atomic_file(out) as temporary:
        table.to_parquet(temporary) if out.suffix == ".parquet" else table.to_csv(temporary, index=False)
    print(f"{len(table)} {rows} x {len(names)} dimensions are in {out}")


def _sides(metadata: pd.DataFrame, manifest: dict) -> list[str]:
    side_of = {str(one): side for side in ("train", "val", "test") for one in manifest.get(side, {}).get("ids", [])}
    return [side_of.get(str(one), "new") for one in metadata[manifest["by"]]]
