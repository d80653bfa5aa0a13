"""The embedding of every step of a long series: in one pass, or from the window that ends there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.encoders.base import split_missing
from tscl.errors import ConfigError, DataError
from tscl.evaluation.contexts import device_of, evaluating

METHODS = ("auto", "one_pass", "sliding")


def embed_series(
    encoder: nn.Module,
    x: np.ndarray | Tensor,
    *,
    context: int = 200,
    method: str = "auto",
    chunk: int = 8192,
    batch_size: int = 256,
    mask_last: bool = False,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Embed every step of a series from what was known by then, with a frozen encoder.

    ``"one_pass"``, for causal encoders, runs over the series once, in chunks that are preceded by the
    ``receptive_field - 1`` steps before them: row t is what the encoder gives at the end of ``x[:, : t + 1]``. The work
    grows with the length of the series, the memory for activations does not.

    ``"sliding"``, for any encoder, is the protocol of TS2Vec (Yue et al., AAAI 2022, section 4.2): row t is the last
    embedding of the window ``x[:, t - context : t + 1]``. Windows that begin before the series are padded with NaN,
    which an encoder hides. For a causal encoder they are not padded but begin with the series, because hidden steps
    would still add the layers' biases. So both methods agree on every row where ``receptive_field`` is at most
    ``context + 1``.

    Missing values are judged once for the whole series where the encoder is causal: a NaN hides its step, a channel
    counts as absent (zeros) until its first value. Other encoders judge each window on its own.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(x (B, C, T), mask) -> (B, D, T)``. It is left as it was: mode of every submodule, device, weights.
    x : ndarray or Tensor, shape (C, T)
        The series; NaN marks missing values.
    context : int
        Number of steps before its own from which a row is computed, for ``"sliding"``; ``"one_pass"`` sees the
        receptive field.
    method : {"auto", "one_pass", "sliding"}
        "auto": one pass where the encoder is causal (and can, with ``mask_last``), sliding otherwise.
    chunk : int
        Number of steps embedded at a time in one pass; the receptive field where that is more, so that the steps
        carried along at most double the work.
    batch_size : int
        Number of windows a batch, for ``"sliding"``.
    mask_last : bool
        Hide the latent of the step itself, so that a row is computed from the values before it (the second embedding of
        TS2Vec's anomaly detection). In one pass the encoder must have ``features_last_hidden``, as
        :class:`tscl.encoders.CausalConvEncoder` has.
    device : torch.device or str, optional
        Where to compute; the encoder's own device by default.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray, shape (T, D), float32

    Raises
    ------
    DataError
        When ``x`` has not two axes, or no channel or step.
    ConfigError
        When the method is unknown or not possible with this encoder, when a number is out of range, or when the encoder
        does not return one embedding a step.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl.encoders import CausalConvEncoder
    >>> from tscl.evaluation import embed_series
    >>> encoder = CausalConvEncoder(in_channels=2, dim=16, hidden=8, depth=2)
    >>> embed_series(encoder, np.random.default_rng(0).normal(size=(2, 1000))).shape
    (1000, 16)
    """
    from tqdm import tqdm

    x = x.detach().float().cpu() if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float32))
    if x.ndim != 2:
        raise DataError(f"the series has shape {tuple(x.shape)}, expected (channels, steps).")
    if 0 in x.shape:
        raise DataError(f"the series has shape {tuple(x.shape)}: there is no value to embed.")
    if context < 0 or chunk < 1 or batch_size < 1:
        raise ConfigError(
            f"context is {context}, chunk {chunk}, batch_size {batch_size}: use 0 or more, 1 or more, 1 or more."
        )
    one_pass = _is_one_pass(encoder, method, mask_last)
    causal = bool(getattr(encoder, "causal", False))
    keep = split_missing(x[None], causal=True)[1][0] if causal and x.isnan().any() else None
    own = device_of(encoder)
    device = own if device is None else torch.device(device)

    def encode(batch: Tensor, mask: Tensor | None, last_hidden: bool = False) -> Tensor:
        function = encoder.features_last_hidden if last_hidden else encoder
        return _checked(encoder, batch, function(batch.to(device), None if mask is None else mask.to(device)))

    result: np.ndarray | None = None
    with evaluating(encoder), torch.inference_mode():
        encoder.to(device)
        try:
            if one_pass:
                reach = int(encoder.receptive_field)
                parts = _chunks(encode, x, keep, reach, max(chunk, reach), mask_last)
            else:
                parts = _windows(encode, x, keep, context, batch_size, mask_last, causal)
            with tqdm(total=x.shape[1], desc="embedding", unit="step", disable=not progress) as bar:
                for start, rows in parts:
                    if result is None:
                        result = np.empty((x.shape[1], rows.shape[1]), dtype=np.float32)
                    result[start : start + len(rows)] = rows.float().cpu().numpy()
                    bar.update(len(rows))
        finally:
            encoder.to(own)
    assert result is not None
    return result


def _is_one_pass(encoder: nn.Module, method: str, mask_last: bool) -> bool:
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}: use one of {', '.join(METHODS)}.")
    obstacle = None
    if not getattr(encoder, "causal", False):
        obstacle = "is not causal, its embeddings depend on later steps"
    elif mask_last and not hasattr(encoder, "features_last_hidden"):
        obstacle = "has no features_last_hidden, which hides every step from its own row in one pass"
    if method == "one_pass" and obstacle:
        raise ConfigError(f"{type(encoder).__name__} {obstacle}: use method='sliding'.")
    return method != "sliding" and obstacle is None


def _chunks(
    encode: Callable[..., Tensor], x: Tensor, keep: Tensor | None, reach: int, chunk: int, mask_last: bool
) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows of one chunk after the other, each with the step at which it starts."""
    for start in range(0, x.shape[1], chunk):
        seen = slice(max(0, start - reach + 1), start + chunk)
        z = encode(x[None, :, seen], None if keep is None else keep[None, seen], mask_last)
        yield start, z[0, :, start - seen.start :].T


def _windows(
    encode: Callable[..., Tensor],
    x: Tensor,
    keep: Tensor | None,
    context: int,
    batch_size: int,
    mask_last: bool,
    causal: bool,
) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows of one batch of windows after the other, each with the step at which it starts."""
    n_steps = x.shape[1]
    # A causal encoder does not see what follows a row, so the first window serves all rows that it holds.
    width = min(context + 1, n_steps) if causal else context + 1
    padding = 0 if causal else context
    windows = F.pad(x, (padding, 0), value=torch.nan).unfold(1, width, 1).transpose(0, 1)
    for start in range(0, n_steps, batch_size):
        ends = torch.arange(start, min(start + batch_size, n_steps)) + padding
        begins = (ends - width + 1).clamp(min=0)
        at = ends - begins
        mask = None if keep is None else keep.unfold(0, width, 1)[begins]
        if mask_last:
            shown = torch.arange(width) != at[:, None]
            mask = shown if mask is None else mask & shown
        z = encode(windows[begins], mask)
        yield start, z[torch.arange(len(at)), :, at]


def _checked(encoder: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    if not isinstance(z, Tensor) or z.ndim != 3 or (z.shape[0], z.shape[2]) != (x.shape[0], x.shape[2]):
        got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ConfigError(
            f"{type(encoder).__name__} returned {got} for {tuple(x.shape)}, expected (windows, dimensions, steps) with "
            "one embedding a step: a series is embedded by encoders that keep the time resolution."
        )
    return z
