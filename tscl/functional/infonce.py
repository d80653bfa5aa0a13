"""The two contrasts of AutoTCL: of windows in a batch, and of stretches within a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tscl.functional.pairs import at_least_single, check_pooled
from tscl.functional.tiles import Ring, pair_logsumexp


def global_info_nce(h1: Tensor, h2: Tensor, temperature: float = 1.0, *, ring: Ring | None = None) -> Tensor:
    """Contrast every window with its other view, against the other views of the batch (AutoTCL, global contrast).

    The mean over both directions of ``-log softmax`` of the cosine similarity at the window's own view (van den Oord
    et al., *CPC*, 2018, eq. 4).

    Parameters
    ----------
    h1, h2 : Tensor, shape (B, D), floating
        One embedding a window, from two views.
    temperature : float
        Divides the cosine similarity.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when the batch holds one window.

    Raises
    ------
    ValueError
        When the two shapes differ or are not two-dimensional.
    """
    check_pooled(h1, h2)
    q, k = (F.normalize(at_least_single(h), dim=1) for h in (h1, h2))
    dtype = torch.promote_types(h1.dtype, h2.dtype)
    rows, columns, own, _ = pair_logsumexp(q / temperature, k, dtype=dtype, ring=ring)
    return ((rows + columns) / 2 - own).mean()


def local_info_nce(z: Tensor, segments: int = 16, temperature: float = 1.0) -> Tensor:
    """Contrast the stretches of a window: neighbours are alike, others are not (AutoTCL, local contrast).

    The embedding sequence is cut into ``segments`` equal stretches (what is left over at its start is dropped), each
    max-pooled to ``s_i``. For every pair of neighbours (i, n) the loss is ``-log(exp(c_in) / (exp(c_in) + sum_j
    exp(c_ij)))`` with the cosine similarity c over the temperature and j over all stretches but i and its neighbours;
    it is averaged over pairs and windows.

    Parameters
    ----------
    z : Tensor, shape (B, D, T), floating
        Embeddings per time step.
    segments : int
        Number of stretches, at most T; fewer than 4 have no negatives for every stretch.
    temperature : float
        Divides the cosine similarity.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ValueError
        When there are more segments than time steps, or fewer than 4.
    """
    if z.ndim != 3:
        raise ValueError(f"expected embeddings of shape (B, D, T), got {tuple(z.shape)}.")
    if not 4 <= segments <= z.shape[2]:
        raise ValueError(
            f"{segments} segments of {z.shape[2]} time steps: use at least 4 and at most as many as steps."
        )
    length = z.shape[2] // segments
    s = z[:, :, z.shape[2] - segments * length :].unflatten(2, (segments, length)).amax(dim=3)
    s = F.normalize(at_least_single(s), dim=1)
    similarity = s.transpose(1, 2) @ s / temperature
    place = torch.arange(segments, device=z.device)
    near = (place[:, None] - place).abs() <= 1
    negative = similarity.masked_fill(near, -torch.inf).logsumexp(dim=2)
    later = F.softplus(negative[:, :-1] - similarity.diagonal(1, 1, 2))
    earlier = F.softplus(negative[:, 1:] - similarity.diagonal(-1, 1, 2))
    return (later.mean() + earlier.mean()) / 2
