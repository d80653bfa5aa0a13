"""From a trained encoder and windows to arrays of embeddings."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.contexts import device_of, evaluating
from tscl.functional.pooling import pool_time
from tscl.types import Batch


def embed(
    encoder: nn.Module,
    X: np.ndarray | Tensor | WindowDataset,
    *,
    pooling: str = "max",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    per_step: bool = False,
    progress: bool = False,
) -> np.ndarray:
    """Embed windows with a frozen encoder: dropout off, no gradients, in batches.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(x (B, C, T)) -> (B, D, T')``. It is left as it was: mode of every submodule, device, weights.
    X : ndarray, Tensor or WindowDataset, shape (n, C, T)
        Windows; NaN marks missing values. Steps at which every channel is NaN are padding and not pooled over.
    pooling : str
        What is computed over time, see :func:`tscl.functional.pool_time`.
    batch_size : int
        Windows a batch; only that many are read from disk at a time.
    device : torch.device or str, optional
        Where to compute; the encoder's own device by default.
    per_step : bool
        Return the embeddings of all time steps, not pooled.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray, float32
        Shape (n, k * D) with k statistics in ``pooling``, or (n, D, T') with ``per_step``.

    Raises
    ------
    DataError
        When ``X`` has not three axes or no window.
    ConfigError
        When the encoder does not return (B, D, T').
    """
    if not isinstance(X, WindowDataset):
        X = torch.as_tensor(X)
    if len(X.shape) != 3:
        raise DataError(f"windows have shape {tuple(X.shape)}, expected (windows, channels, times).")
    if len(X) == 0:
        raise DataError("there is no window to embed: the data set is empty.")
    from tqdm import trange

    own = device_of(encoder)
    device = own if device is None else torch.device(device)
    result: np.ndarray | None = None
    with evaluating(encoder), torch.inference_mode():
        encoder.to(device)
        try:
            for start in trange(0, len(X), batch_size, desc="embedding", unit="batch", disable=not progress):
                part = X[start : start + batch_size]
                batch = (part if isinstance(part, Batch) else Batch(part.float())).to(device)
                z = encode(encoder, batch)
                h = (z if per_step else pool_time(z, pooling, kept_steps(batch.x, z.shape[2]))).float().cpu().numpy()
                if result is None:
                    result = np.empty((len(X), *h.shape[1:]), dtype=np.float32)
                result[start : start + len(h)] = h
        finally:
            encoder.to(own)
    assert result is not None
    return result


def encode(encoder: nn.Module, batch: Batch) -> Tensor:
    """Run the encoder on a batch and check that it gives one embedding a time step, (B, D, T').

    Raises
    ------
    ConfigError
        When the encoder returns anything else.
    """
    z = encoder(batch.x) if batch.sensors is None else encoder(batch.x, sensors=batch.sensors)
    if not isinstance(z, Tensor) or z.ndim != 3 or len(z) != len(batch.x):
        got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ConfigError(
            f"{type(encoder).__name__} returned {got} for windows of shape {tuple(batch.x.shape)}, expected a tensor "
            "(windows, dimensions, time steps)."
        )
    return z


def kept_steps(x: Tensor, n_steps: int) -> Tensor:
    """Tell which of ``n_steps`` embedded steps see a measured value, (B, n_steps) bool, for windows ``x`` (B, C, T)."""
    keep = ~x.isnan().all(dim=1)
    if n_steps != x.shape[2]:
        keep = F.adaptive_max_pool1d(keep[:, None].float(), n_steps)[:, 0] > 0
    return keep
