"""Normalisers in a ring, on one of several processes: their values, their gradients, and the memory that they hold.

Usage: python ring.py OUT RANK, for each rank below 4: the first two, three and four of them make a ring in turn. All
processes draw the same vectors and take their own part of them.
"""

import sys
import weakref
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tscl.distributed import JoinedBatch
from tscl.functional import (
    clip_loss,
    global_info_nce,
    group_contrast,
    hierarchical_contrast,
    nt_xent,
    sample_contrast,
    siglip_loss,
    tiles,
)

WORLDS = (2, 3, 4)
ROWS, EXTRA, DIM = (3, 5, 1, 2), (0, 2, 1, 0), 4
"""Windows of a process, its further columns, and their length."""
HELD_ROWS, HELD_STEPS = 4, 512


SCALE = torch.tensor(0.5)


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


def drawn(world):
    """Of every process: rows, columns, ids, and the weights of the four results in its loss."""
    torch.manual_seed(0)
    for n, extra in zip(ROWS[:world], EXTRA, strict=False):
        m = n + extra
        yield draw(n, DIM), draw(m, DIM), torch.randint(-1, 3, (n,)), (draw(n), draw(m), draw(n), draw())


def embedded(world, steps):
    """Of every process: two views, and an id a window."""
    torch.manual_seed(steps)
    return [(draw(n, DIM, steps), draw(n, DIM, steps), torch.randint(0, 3, (n,))) for n in ROWS[:world]]


class Held(TorchDispatchMode):
    """Follows how many bytes of tensors are alive at once, of those that were made under it."""

    def __init__(self):
        super().__init__()
        self.made, self.most = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.made += [weakref.ref(one) for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self.made = [one for one in self.made if one() is not None]
        storages = [one().untyped_storage() for one in self.made]
        self.most = max(self.most, sum({one.data_ptr(): one.nbytes() for one in storages}.values()))
        return made


LOSSES = {
    "group": group_contrast,
    "info_nce": lambda z1, z2, ids, **ring: global_info_nce(z1.flatten(1), z2.flatten(1), **ring),
    "nt_xent": lambda z1, z2, ids, **ring: nt_xent(z1.flatten(1), z2.flatten(1), **ring),
    "clip": lambda z1, z2, ids, **ring: clip_loss(z1, z2, ids=ids, symmetric=True, **ring),
    "siglip": lambda z1, z2, ids, **ring: siglip_loss(z1, z2, SCALE, SCALE, ids=ids, **ring),
    "sample": lambda z1, z2, ids, **ring: sample_contrast(z1, z2, multiscale=True, **ring),
    "hierarchical": lambda z1, z2, ids, **ring: hierarchical_contrast(z1, z2, 0.3, 1, **ring),
}
STEPS = (1, 2, 9)
TILES = (8, tiles.TILE_ELEMENTS["cpu"])
"""Time steps of the embeddings whose losses are compared, and similarities that are held at a time."""


def held(loss, across):
    """Return the most bytes that a loss of windows of 8 x 512 values holds, forward and backward."""
    z1, z2 = (torch.randn(HELD_ROWS, 8, HELD_STEPS).requires_grad_() for _ in range(2))
    ids, everywhere = torch.arange(HELD_ROWS) // 2, JoinedBatch(HELD_ROWS, HELD_STEPS, z1.device)
    with Held() as memory:
        if across == "ring":
            value = loss(z1, z2, ids, ring=everywhere)
        else:
            value = loss(*everywhere.embeddings(z1, z2), everywhere.tensor(ids))
        value.backward()
    return memory.most


def judged(loss, rank, world, steps, tile):
    """Return the loss of the own windows, and their gradient as it is averaged over processes."""
    z1, z2, ids = embedded(world, steps)[rank]
    z1, z2, everywhere = z1.requires_grad_(), z2.requires_grad_(), JoinedBatch(len(ids), steps, z1.device)
    with patch.dict(tiles.TILE_ELEMENTS, cpu=tile):
        value = loss(z1, z2, ids, ring=everywhere)
        gradients = torch.autograd.grad(everywhere.weighted(value), (z1, z2))
    with torch.no_grad():
        again = loss(z1, z2, ids, ring=everywhere)
    return [value.detach(), again, *(one / world for one in gradients)]


def measure(rank, world):
    """Return what a process says of its part of a ring."""
    q, k, ids, weights = list(drawn(world))[rank]
    everywhere = JoinedBatch(len(q), 1, q.device)
    said = {"held": {}}
    for kind in ("all", "without", "within"):
        k_of_kind = k[: len(q)] if kind == "within" else k
        q_leaf, k_leaf = q.clone().requires_grad_(), k_of_kind.clone().requires_grad_()
        found = everywhere.pair_logsumexp(q_leaf, k_leaf, **({} if kind == "all" else {kind: ids}))
        of_columns = weights[1][: len(k_leaf)]
        loss = sum((w * one).sum() for w, one in zip((weights[0], of_columns, *weights[2:]), found, strict=True))
        gradients = torch.autograd.grad(loss, (q_leaf, k_leaf))
        said[kind] = {"found": [one.detach() for one in found], "gradients": list(gradients)}
    said["losses"] = {
        f"{name} {steps} {tile}": judged(loss, rank, world, steps, tile)
        for name, loss in LOSSES.items()
        for steps in STEPS
        for tile in TILES
    }
    for name, loss in LOSSES.items():
        said["held"][name] = {across: held(loss, across) for across in ("ring", "gather")}
    return said


def main(out, rank):
    for world in WORLDS:
        if rank < world:
            dist.init_process_group("gloo", init_method=f"file://{out}.meet{world}", rank=rank, world_size=world)
            torch.save(measure(rank, world), f"{out}.{world}.{rank}")
            dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
