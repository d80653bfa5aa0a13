"""``tscl export``: a run's encoder as a graph that runs without tscl."""

from __future__ import annotations

from pathlib import Path

from tscl.encoders import Encoder, export_onnx, export_program
from tscl.errors import ConfigError

WRITERS = {".onnx": export_onnx, ".pt2": export_program}


def export_run(run: Path, out: Path, pooling: str = "max", n_times: int = 256, per_step: bool = False) -> None:
    """Write the encoder of a run as ONNX (.onnx) or as a program of torch.export (.pt2); no recordings are needed.

    Args:
        run: Folder of a finished run, or of a model that was saved with save_pretrained.
        out: File to write, .onnx or .pt2.
        pooling: How the embeddings are pooled over time.
        n_times: Time steps a window; of effect only where the pooling asks for segments, such as mean/7.
        per_step: Write the embedding of every time step, not pooled.
    """
    if out.suffix not in WRITERS:
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}: write to .onnx or .pt2.")
    encoder = Encoder.from_pretrained(run)
    n_channels = encoder.config()["in_channels"]
    WRITERS[out.suffix](encoder, out, n_channels, n_times, pooling=None if per_step else pooling)
    inputs = "x, positions, subject" if encoder.takes_sensors else "x"
    print(f"{type(encoder).__name__} for {n_channels} channels is in {out}: {inputs} to embeddings")
