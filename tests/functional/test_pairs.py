import pytest
import torch

from tscl.functional import twin_contrast


def slow(z1, z2):
    """Every vector's cross-entropy of finding its twin, one after the other."""
    losses = []
    for group in torch.cat([z1, z2], dim=1):
        n = len(group) // 2
        for i, vector in enumerate(group):
            others = [j for j in range(2 * n) if j != i]
            scores = torch.stack([vector @ group[j] for j in others])
            losses.append(-scores.log_softmax(0)[others.index((i + n) % (2 * n))])
    return torch.stack(losses).mean()


def views(*shape):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 5, 4), (4, 3, 1)])
def test_value_and_gradient_are_those_of_the_slow_version(shape):
    z1, z2 = views(*shape)
    loss, expected = twin_contrast(z1, z2), slow(z1, z2)
    torch.testing.assert_close(loss, expected)
    for gradient, wanted in zip(
        torch.autograd.grad(3 * loss, [z1, z2]), torch.autograd.grad(3 * expected, [z1, z2]), strict=True
    ):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("shape", [(3, 1, 4), (0, 5, 4)])
def test_without_a_negative_it_is_exactly_zero(shape):
    z1, z2 = views(*shape)
    loss = twin_contrast(z1, z2)
    assert loss == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, [z1, z2]))
