"""The ring on two to four processes (gloo, CPU) against the whole matrix, and what it holds in memory."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("ring.py")
sys.path.insert(0, str(SCRIPT.parent))
import ring  # noqa: E402


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each of two, three and four processes said."""
    folder = tmp_path_factory.mktemp("ring")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(folder / "said")]
    processes = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(max(ring.WORLDS))
    ]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    read = partial(torch.load, weights_only=True)
    return {world: [read(folder / f"said.{world}.{rank}") for rank in range(world)] for world in ring.WORLDS}


def whole(world, kind):
    """The four results of every process and their gradients, pair by pair from the matrix of all pairs."""
    parts = list(ring.drawn(world))
    qs = [q.clone().requires_grad_() for q, *_ in parts]
    ks = [(k[: len(q)] if kind == "within" else k).clone().requires_grad_() for q, k, *_ in parts]
    similarity = torch.cat(qs) @ torch.cat(ks).T
    rows = [(rank, i) for rank, q in enumerate(qs) for i in range(len(q))]
    columns = [(rank, j) for rank, k in enumerate(ks) for j in range(len(k))]
    alike = torch.zeros(similarity.shape, dtype=torch.bool)
    for r, (rank, i) in enumerate(rows):
        for c, (other, j) in enumerate(columns):
            known = j < len(qs[other]) and (rank, i) != (other, j)
            alike[r, c] = known and parts[rank][2][i] == parts[other][2][j] >= 0
    kept = similarity.masked_fill(alike, -torch.inf) if kind == "without" else similarity
    summed = torch.where(alike, similarity, 0.0).sum(dim=1) if kind == "within" else similarity.sum(dim=1) * 0
    own = similarity[range(len(rows)), [columns.index(row) for row in rows]]
    sizes = [len(q) for q in qs]
    results = zip(
        kept.logsumexp(dim=1).split(sizes),
        kept.logsumexp(dim=0).split([len(k) for k in ks]),
        own.split(sizes),
        [one.sum() for one in summed.split(sizes)],
        strict=True,
    )
    results = list(results)
    loss = sum(
        (weight[: len(one)] * one).sum() if one.ndim else weight * one
        for (*_, weights), of_rank in zip(parts, results, strict=True)
        for weight, one in zip(weights, of_rank, strict=True)
    )
    gradients = torch.autograd.grad(loss, [*qs, *ks])
    return results, list(zip(gradients[:world], gradients[world:], strict=True))


@pytest.mark.parametrize("world", ring.WORLDS)
@pytest.mark.parametrize("kind", ["all", "without", "within"])
def test_it_equals_the_matrix_of_all_pairs(said, world, kind):
    results, gradients = whole(world, kind)
    for rank in range(world):
        ours = said[world][rank][kind]
        for one, other in zip([*ours["found"], *ours["gradients"]], [*results[rank], *gradients[rank]], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("world", ring.WORLDS)
@pytest.mark.parametrize("tile", ring.TILES)
@pytest.mark.parametrize("steps", ring.STEPS)
@pytest.mark.parametrize("loss", ring.LOSSES)
def test_a_loss_and_its_gradient_are_those_of_the_joined_batch(said, loss, steps, tile, world):
    parts = ring.embedded(world, steps)
    z1, z2, ids = (torch.cat(kind) for kind in zip(*parts, strict=True))
    value = ring.LOSSES[loss](z1.requires_grad_(), z2.requires_grad_(), ids)
    gradients = [one.split(ring.ROWS[:world]) for one in torch.autograd.grad(value, (z1, z2))]
    every = [rank["losses"][f"{loss} {steps} {tile}"] for rank in said[world]]
    for number in range(2):  # with a gradient, and without one
        mean = sum(own[number] * n for own, n in zip(every, ring.ROWS, strict=False)) / len(ids)
        torch.testing.assert_close(mean, value.detach(), rtol=1e-11, atol=1e-11)
    for rank, (_, _, *ours) in enumerate(every):
        torch.testing.assert_close(ours, [one[rank] for one in gradients], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("loss", ring.LOSSES)
def test_no_process_holds_all_embeddings(said, loss):
    """A fourth process adds nothing to what the others hold in a ring, and two blocks of embeddings if they gather."""
    block = ring.HELD_ROWS * 8 * ring.HELD_STEPS * 4
    three, four = ([rank["held"][loss] for rank in said[world]] for world in (3, 4))
    assert four[0]["gather"] - three[0]["gather"] > 2 * block
    assert max(rank["ring"] for rank in four) - min(rank["ring"] for rank in three) < 0.1 * block
