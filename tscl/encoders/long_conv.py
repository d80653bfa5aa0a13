"""A causal convolution with a long kernel, faster than a direct one and still exactly causal."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECT = 8
"""Lags below this many steps are convolved directly."""


def causal_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with left padding only: ``y[t] = sum over lags j of weight[..., K - 1 - j] x[t - j]``.

    On the CPU in single or double precision the lags are split: those below 8 are taken directly, and those from L to
    2 L - 1, for L = 8, 16, 32, ..., in blocks of L outputs by a Fourier transform of the 2 L steps before the block.
    These lie wholly in the past of every output of the block, so that not even a rounding error comes from a later
    step, as it would from a transform of the whole series. Elsewhere, and in an exported graph, which serves
    series of any length, it is one ordinary convolution.

    Parameters
    ----------
    x : Tensor, shape (B, C, T)
    weight : Tensor, shape (D, C, K)

    Returns
    -------
    Tensor, shape (B, D, T)
    """
    if torch.compiler.is_exporting():
        return F.conv1d(F.pad(x, (weight.shape[2] - 1, 0)), weight)
    n_steps = x.shape[2]
    weight = weight[:, :, -n_steps:]
    size = weight.shape[2]
    fast = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    near = weight[:, :, -DIRECT:] if fast and size > 2 * DIRECT else weight
    y = F.conv1d(F.pad(x, (near.shape[2] - 1, 0)), near)
    if near is weight:
        return y
    steps = x.mT.contiguous()
    lag = DIRECT
    while lag < size:
        far = weight[:, :, max(size - 2 * lag, 0) : size - lag]
        y[:, :, lag:] += _far_lags(steps, far, lag)[:, :, : n_steps - lag]
        lag *= 2
    return y


def _far_lags(steps: Tensor, weight: Tensor, lag: int) -> Tensor:
    """Sum over the lags from ``lag`` to 2 ``lag`` - 1, for the outputs from step ``lag`` on.

    Parameters
    ----------
    steps : Tensor, shape (B, T, C)
    weight : Tensor, shape (D, C, up to lag)
        The last entry belongs to ``lag``.
    lag : int

    Returns
    -------
    Tensor, shape (B, D, at least T - lag)
    """
    n_batch, n_steps, n_in = steps.shape
    n_out, _, n_taps = weight.shape
    n_blocks = (n_steps - 1) // lag
    to_signal, to_kernel, back = _transforms(lag, steps.dtype)
    blocks = F.pad(steps[:, : n_blocks * lag], (0, 0, lag, 0)).view(n_batch, n_blocks + 1, lag, n_in)
    before = torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=2).view(-1, 2 * lag, n_in)
    signal = (to_signal @ before).transpose(0, 1)
    kernel = (to_kernel[:, lag - n_taps :] @ weight.reshape(-1, n_taps).T).view(-1, n_out, n_in)
    product = signal @ kernel.mT
    y = (back @ product.view(len(product), -1)).view(lag, n_batch, n_blocks, n_out)
    return y.permute(1, 3, 2, 0).reshape(n_batch, n_out, -1)


@lru_cache(maxsize=32)
def _transforms(lag: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return real matrices A, B, C for which ``C ((A x) * (B w))`` is the far part of a convolution.

    They are the discrete Fourier transform of 2 ``lag`` points, with each product of two complex numbers written as
    three products of real ones: (p + q) r, p (s - r), q (r + s) for (p + iq)(r + is).

    Parameters
    ----------
    lag : int
    dtype : torch.dtype

    Returns
    -------
    tuple of Tensors, shapes (3 lag - 1, 2 lag), (3 lag - 1, lag), (lag, 3 lag - 1)
    """
    # Kept between calls: what inference mode makes could not be used for training later.
    with torch.inference_mode(False):
        turns = torch.arange(lag + 1)[:, None] * torch.arange(2 * lag) % (2 * lag)
        angle = math.pi / lag * turns.double()
        real, imaginary = angle.cos(), -angle.sin()
        ends, inner = [0, lag], slice(1, lag)
        p, q = real[inner], imaginary[inner]
        to_signal = torch.cat([real[ends], p + q, p, q])
        r, s = p[:, :lag], q[:, :lag]
        to_kernel = torch.cat([real[ends, :lag], r, s - r, r + s]).flip(1)
        c, d = p[:, lag:] / lag, q[:, lag:] / lag
        back = torch.cat([real[ends, lag:] / (2 * lag), c + d, d, -c]).T
        return to_signal.to(dtype), to_kernel.to(dtype).contiguous(), back.to(dtype).contiguous()
