"""``tscl embed`` for a run on speech: what the encoder makes of every window."""

from __future__ import annotations

from pathlib import Path

from tscl.cli.embed import check_table, write_table
from tscl.cli.evaluate_speech import open_speech_run
from tscl.evaluation import embed
from tscl.evaluation.contexts import device_for


def embed_speech(
    run: Path,
    out: Path,
    root: Path | None = None,
    speech: Path | None = None,
    pooling: str = "mean",
    batch_size: int = 64,
    accelerator: str = "auto",
) -> None:
    """Write one row a window: subject, word, sequence, sound, onsets (s), side of the split, and predicted features.

    Args:
        run: Folder of a finished run.
        out: Table to write, .parquet or .csv.
        root: Folder of another study of the same kind; that of the run by default.
        speech: Folder of the sound files, where it is another one than in training.
        pooling: How the predicted speech features are pooled over time.
        batch_size: Windows a batch.
        accelerator: auto, cpu or gpu.
    """
    check_table(out)
    opened = open_speech_run(run, root, speech)
    device = device_for(accelerator)
    embeddings = embed(
        opened.encoder, opened.windows, pooling=pooling, batch_size=batch_size, device=device, progress=True
    )
    side_of = {one: side for side in ("train", "val", "test") for one in opened.manifest[side]["ids"]}
    table = opened.windows.metadata.drop(columns=["recording_number"])
    table = table.assign(split=table["sequence"].map(side_of).fillna("new"))
    write_table(table, embeddings, out, "windows")
