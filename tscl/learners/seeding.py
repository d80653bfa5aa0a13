"""Random numbers that do not depend on what ran before."""

from __future__ import annotations

import torch


def seed_step(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Fix torch's random numbers of a training step, so that a resumed run goes on as it would have."""
    mixed = torch.tensor([seed, epoch, batch, rank], dtype=torch.int64)
    primes = torch.tensor([1_000_003, 998_244_353, 1_000_000_007, 2_147_483_647], dtype=torch.int64)
    torch.manual_seed(int((mixed + 1).mul(primes).sum()) % (1 << 62))
