"""Contrasts of two modalities whose features are resolved in time: which of many stretches goes with this one?"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tscl.functional.pairs import at_least_single
from tscl.functional.tiles import Ring, pair_logsumexp, spans, tile_elements

TINY = 1e-8


def match_logits(z: Tensor, candidates: Tensor) -> Tensor:
    """Score every window against every candidate: the inner product over features and time (Defossez et al. 2023).

    Only the candidates are scaled to unit norm; the length of ``z`` is the model's own confidence, so the softmax over
    candidates needs no temperature.

    Parameters
    ----------
    z : Tensor, shape (B, F, T), floating
        What the encoder made of the windows.
    candidates : Tensor, shape (N, F, T), floating
        Features of the candidates.

    Returns
    -------
    Tensor, shape (B, N)

    Raises
    ------
    ValueError
        When the two differ in features or time steps.
    """
    _check_match(z, candidates)
    with torch.autocast(z.device.type, enabled=False):
        return _flat(z, unit=False) @ _flat(candidates, unit=True).T


def clip_loss(
    z: Tensor,
    speech: Tensor,
    *,
    negatives: Tensor | None = None,
    ids: Tensor | None = None,
    log_scale: Tensor | None = None,
    symmetric: bool = False,
    ring: Ring | None = None,
) -> Tensor:
    """Contrast windows with the stretches that go with them, against those of the rest of the batch.

    The mean of ``-log softmax`` over candidates of :func:`match_logits` at the window's own stretch (Defossez et al.
    2023, *Decoding speech from non-invasive brain recordings*, contrastive loss; Radford et al., CLIP, 2021).

    Parameters
    ----------
    z : Tensor, shape (B, F, T), floating
        What the encoder made of the windows.
    speech : Tensor, shape (B, F, T), floating
        The stretch that goes with each window.
    negatives : Tensor, shape (N, F, T), floating, optional
        Further candidates that go with no window of the batch.
    ids : Tensor, shape (B,), int64, optional
        Which stretches are the same one (several subjects heard it): another window's copy of the own stretch is no
        candidate. Without ids every other stretch is a negative.
    log_scale : Tensor, scalar, optional
        Logarithm of a factor of the scores. With it windows are scaled to unit norm too (CLIP); without it their norm
        is free (Defossez et al.).
    symmetric : bool
        Also contrast each stretch with the windows of the batch, and take the mean of both directions.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when there is no negative.

    Raises
    ------
    ValueError
        When shapes do not fit.
    """
    candidates = speech if negatives is None else torch.cat([speech, negatives])
    _check_match(z, candidates)
    _check_pairs(z, speech, ids)
    q, k = _flat(z, unit=log_scale is not None), _flat(candidates, unit=True)
    if log_scale is not None:
        q = q * log_scale.exp()
    dtype = torch.promote_types(z.dtype, candidates.dtype)
    rows, columns, own, _ = pair_logsumexp(q, k, without=ids, dtype=dtype, ring=ring)
    loss = (rows - own).mean()
    return (loss + (columns[: len(z)] - own).mean()) / 2 if symmetric else loss


def siglip_loss(
    z: Tensor,
    speech: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    *,
    ids: Tensor | None = None,
    ring: Ring | None = None,
) -> Tensor:
    """Judge every pair of a window and a stretch on its own, by a sigmoid (Zhai et al., SigLIP, ICCV 2023, eq. 1).

    Parameters
    ----------
    z, speech : Tensor, shape (B, F, T), floating
        Windows as encoded, and the stretch that goes with each; both are scaled to unit norm.
    log_scale, bias : Tensor, scalar
        Logarithm of the factor of the cosine similarity, and what is added to it.
    ids : Tensor, shape (B,), int64, optional
        Which stretches are the same one: another window's copy of the own stretch is left out.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Sum over the pairs of a window, mean over windows.

    Raises
    ------
    ValueError
        When shapes do not fit.
    """
    _check_pairs(z, speech, ids)
    _check_match(z, speech)
    q, k = _flat(z, unit=True) * log_scale.exp(), _flat(speech, unit=True)
    place = torch.arange(len(z), device=z.device)
    if ring is not None:
        place = place + ring.own.start
    labels = torch.stack([place] if ids is None else [place, ids], dim=1)
    judge = partial(_judged, labels)
    total = judge(q, bias, k, labels) if ring is None else ring.pair_sum(judge, (q, bias), k, labels)
    return total / len(z)


def _judged(own: Tensor, q: Tensor, bias: Tensor, k: Tensor, labels: Tensor) -> Tensor:
    """Sum the terms of all pairs of rows, whose labels are ``own``, and columns, some rows at a time."""
    height = max(1, tile_elements(q.device) // len(k))
    rows = spans(len(q), height)
    return torch.stack([checkpoint(_of_rows, own[i], q[i], bias, k, labels, use_reentrant=False) for i in rows]).sum()


def _of_rows(own: Tensor, q: Tensor, bias: Tensor, k: Tensor, labels: Tensor) -> Tensor:
    """Sum the terms of some rows; labels are a window's place among all and, where there are ids, its id."""
    with torch.autocast(q.device.type, enabled=False):
        logits = q @ k.T + bias
    same = own[:, None, 0] == labels[:, 0]
    terms = F.softplus(torch.where(same, -logits, logits))
    if labels.shape[1] > 1:
        terms = terms.masked_fill((own[:, None, 1] == labels[:, 1]) & ~same, 0.0)
    return terms.sum()


def _flat(z: Tensor, unit: bool) -> Tensor:
    """Return windows as vectors, (B, F * T), scaled to unit norm where asked for."""
    z = at_least_single(z).flatten(1)
    return F.normalize(z, dim=1, eps=TINY) if unit else z


def _check_match(z: Tensor, candidates: Tensor) -> None:
    if z.ndim != 3 or z.shape[1:] != candidates.shape[1:]:
        raise ValueError(
            f"windows {tuple(z.shape)} and candidates {tuple(candidates.shape)}: both must be (windows, features, "
            "times) with the same features and times."
        )


def _check_pairs(z: Tensor, speech: Tensor, ids: Tensor | None) -> None:
    if len(speech) != len(z):
        raise ValueError(f"{len(z)} windows but {len(speech)} stretches of speech: give one a window.")
    if ids is not None and ids.shape != (len(z),):
        raise ValueError(f"expected one id a window, shape ({len(z)},), got {tuple(ids.shape)}.")
