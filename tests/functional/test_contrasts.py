import functools

import pytest
import slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl import functional as F
from tscl.functional import tiles

SHAPES = [(1, 3, 8), (2, 1, 2), (3, 4, 1), (4, 3, 7), (5, 2, 16), (6, 5, 13)]
LOSSES = {
    "observation": (F.observation_contrast, slow.observation),
    "observation multiscale": (
        functools.partial(F.observation_contrast, multiscale=True),
        functools.partial(slow.multiscale, slow.observation),
    ),
    "sample": (F.sample_contrast, slow.sample),
    "sample multiscale": (
        functools.partial(F.sample_contrast, multiscale=True),
        functools.partial(slow.multiscale, slow.sample),
    ),
    "hierarchical": (F.hierarchical_contrast, functools.partial(slow.hierarchical, alpha=0.5, temporal_unit=0)),
    "hierarchical, later": (
        functools.partial(F.hierarchical_contrast, alpha=0.3, temporal_unit=1),
        functools.partial(slow.hierarchical, alpha=0.3, temporal_unit=1),
    ),
}


def views(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]


def assert_same(fast, reference, z1, z2):
    ours, theirs = fast(z1, z2), reference(z1, z2)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)
    for a, b in zip(torch.autograd.grad(3 * ours, (z1, z2)), torch.autograd.grad(3 * theirs, (z1, z2)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_slow_version(name, shape):
    assert_same(*LOSSES[name], *views(shape))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("elements", [1, 40, 200])
def test_equals_the_slow_version_in_small_parts(name, elements, monkeypatch):
    monkeypatch.setitem(tiles.TILE_ELEMENTS, "cpu", elements)
    assert_same(*LOSSES[name], *views((5, 3, 13)))


@pytest.mark.parametrize(
    "ids", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0], [5, 1, 5, 2, 1, 5], [0, 1, 2, 3, 4, 0], [-1, -1, 0, 0, 1, -1]]
)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_group_equals_the_slow_version(ids, temperature):
    fast = functools.partial(F.group_contrast, ids=torch.tensor(ids), temperature=temperature)
    assert_same(fast, functools.partial(slow.group, ids=ids, temperature=temperature), *views((6, 3, 5)))


@pytest.mark.parametrize("shape", [(2, 3), (7, 4)])
def test_nt_xent_equals_the_slow_version(shape):
    z1, z2 = views(shape)
    assert_same(functools.partial(F.nt_xent, temperature=0.2), functools.partial(slow.nt_xent, temperature=0.2), z1, z2)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 5),
    dim=st.integers(1, 4),
    steps=st.integers(1, 9),
    seed=st.integers(0, 99),
    name=st.sampled_from(sorted(LOSSES)),
)
def test_equals_the_slow_version_for_any_shape(batch, dim, steps, seed, name):
    assert_same(*LOSSES[name], *views((batch, dim, steps), seed))


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (F.observation_contrast, (4, 3, 1)),
        (F.sample_contrast, (1, 3, 8)),
        (functools.partial(F.observation_contrast, multiscale=True), (4, 3, 1)),
        (functools.partial(F.group_contrast, ids=torch.arange(4)), (4, 3, 8)),
        (functools.partial(F.group_contrast, ids=torch.full((4,), -1)), (4, 3, 8)),
    ],
)
def test_without_any_positive_value_and_gradient_are_exactly_zero(loss, shape):
    z1, z2 = views(shape)
    value = loss(z1, z2)
    value.backward()
    assert value.item() == 0.0
    assert z1.grad.count_nonzero() == 0
    assert z2.grad.count_nonzero() == 0


def test_an_embedding_of_zeros_gives_no_nan():
    z = torch.zeros(4, 3, 8, requires_grad=True)
    for loss in (
        F.observation_contrast,
        F.sample_contrast,
        functools.partial(F.group_contrast, ids=torch.zeros(4).long()),
    ):
        value = loss(z, z)
        (gradient,) = torch.autograd.grad(value, z)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_large_values_do_not_overflow():
    z1, z2 = (1e3 * z.float() for z in views((3, 4, 6)))
    assert torch.isfinite(F.observation_contrast(z1, z2))
    assert torch.isfinite(F.sample_contrast(z1, z2))


def test_without_gradient_the_value_is_the_same():
    z1, z2 = views((4, 3, 7))
    with torch.no_grad():
        plain = F.sample_contrast(z1, z2, multiscale=True)
    assert plain == F.sample_contrast(z1, z2, multiscale=True).detach()


def test_bfloat16_is_close():
    z1, z2 = (z.detach() for z in views((4, 8, 16)))
    exact = F.observation_contrast(z1, z2)
    rounded = F.observation_contrast(z1.bfloat16(), z2.bfloat16())
    assert rounded.dtype == torch.float32
    assert abs(float(rounded) - float(exact)) < 0.05 * float(exact)


@pytest.mark.parametrize("tile", [1 << 20, 64])
def test_the_gradient_in_bfloat16_is_right_where_twins_are_alike(tile, monkeypatch):
    """Of two views that find each other little is left to learn: their difference must not drown in rounding."""
    monkeypatch.setitem(tiles.TILE_ELEMENTS, "cpu", tile)
    generator = torch.Generator().manual_seed(0)
    z1 = 3 * torch.randn(4, 8, 16, generator=generator).bfloat16()
    z2 = z1 + 0.1 * torch.randn(4, 8, 16, generator=generator).bfloat16()
    gradients = []
    for kind in (torch.bfloat16, torch.float64):
        views = [z.detach().to(kind).requires_grad_() for z in (z1, z2)]
        gradients.append(torch.autograd.grad(F.observation_contrast(*views), views)[0].double())
    rounded, exact = gradients
    assert (rounded - exact).norm() < 0.1 * exact.norm()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        F.observation_contrast(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match="one shape"):
        F.sample_contrast(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="one id a window"):
        F.group_contrast(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        F.nt_xent(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
