import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.functional import global_info_nce, local_info_nce, mmd


def rand(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b):
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def slow_global(h1, h2, temperature):
    terms = []
    for one, other in ((h1, h2), (h2, h1)):
        for i, anchor in enumerate(one):
            scores = [math.exp(cosine(anchor, candidate) / temperature) for candidate in other]
            terms.append(-math.log(scores[i] / sum(scores)))
    return sum(terms) / len(terms)


def slow_local(z, segments, temperature):
    length = z.shape[2] // segments
    terms = []
    for window in z:
        kept = window[:, window.shape[1] - segments * length :]
        s = [kept[:, k * length : (k + 1) * length].max(dim=1).values for k in range(segments)]
        for i in range(segments):
            negatives = sum(math.exp(cosine(s[i], s[j]) / temperature) for j in range(segments) if abs(i - j) > 1)
            for n in (i - 1, i + 1):
                if 0 <= n < segments:
                    positive = math.exp(cosine(s[i], s[n]) / temperature)
                    terms.append(-math.log(positive / (positive + negatives)))
    return sum(terms) / len(terms)


def slow_mmd(h1, h2, n_kernels, factor):
    joint = [*h1, *h2]
    square = [[float(((a - b) ** 2).sum()) for b in joint] for a in joint]
    n, m = len(h1), len(h2)
    middle = sum(map(sum, square)) / ((n + m) * (n + m - 1))
    bandwidths = [middle * factor ** (k - n_kernels // 2) for k in range(n_kernels)]

    def mean_kernel(rows, columns):
        values = [sum(math.exp(-square[i][j] / b) for b in bandwidths) for i in rows for j in columns]
        return sum(values) / len(values)

    first, second = range(n), range(n, n + m)
    return mean_kernel(first, first) + mean_kernel(second, second) - 2 * mean_kernel(first, second)


@pytest.mark.parametrize(("n", "dim", "temperature"), [(2, 3, 1.0), (5, 4, 0.2), (7, 1, 0.5)])
def test_global_info_nce_is_the_equation(n, dim, temperature):
    h1, h2 = rand(n, dim), rand(n, dim, seed=1)
    assert float(global_info_nce(h1, h2, temperature)) == pytest.approx(slow_global(h1, h2, temperature), rel=1e-10)


@pytest.mark.parametrize(
    ("shape", "segments", "temperature"), [((2, 3, 16), 16, 1.0), ((3, 2, 23), 5, 0.3), ((1, 4, 9), 4, 1.0)]
)
def test_local_info_nce_is_the_equation(shape, segments, temperature):
    z = rand(*shape)
    assert float(local_info_nce(z, segments, temperature)) == pytest.approx(
        slow_local(z, segments, temperature), rel=1e-10
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(2, 5), st.integers(1, 4), st.integers(1, 6))
def test_mmd_is_the_equation(n, m, dim, n_kernels):
    h1, h2 = rand(n, dim), 1 + 2 * rand(m, dim, seed=1)
    assert float(mmd(h1, h2, n_kernels, 2.0)) == pytest.approx(slow_mmd(h1, h2, n_kernels, 2.0), rel=1e-8, abs=1e-12)


def test_gradients_are_those_of_finite_differences():
    h1, h2, z = (rand(*shape).requires_grad_() for shape in ((4, 3), (4, 3), (2, 3, 9)))
    assert torch.autograd.gradcheck(lambda a, b: global_info_nce(a, b + 1, 0.5), (h1, h2))
    assert torch.autograd.gradcheck(lambda a: local_info_nce(a, 4, 0.5), (z,))


def test_the_bandwidth_is_a_constant_in_the_gradient():
    h1, h2 = rand(4, 3).requires_grad_(), 1 + rand(5, 3, seed=1)
    [gradient] = torch.autograd.grad(mmd(h1, h2), h1)
    step = torch.zeros_like(h1)
    step[0, 0] = 1e-6
    joint = torch.cat([h1.detach(), h2])
    middle = torch.cdist(joint, joint).square().sum() / (9 * 8)

    def value(h1):
        total = 0
        for a, b, sign in ((h1, h1, 1), (h2, h2, 1), (h1, h2, -2)):
            square = (a[:, None] - b).square().sum(2)
            total += sign * sum((-square / (middle * 2.0**k)).exp() for k in range(-2, 3)).mean()
        return total

    numeric = (value(h1.detach() + step) - value(h1.detach() - step)) / 2e-6
    assert float(gradient[0, 0]) == pytest.approx(float(numeric), rel=1e-5)


def test_mmd_is_zero_for_equal_samples_and_grows_with_the_shift():
    h = rand(20, 4)
    values = [float(mmd(h, h + shift)) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values)
    assert torch.isfinite(mmd(torch.ones(3, 2), torch.ones(3, 2)))


def test_one_window_has_nothing_to_contrast():
    h = rand(1, 3).requires_grad_()
    loss = global_info_nce(h, h)
    assert loss == 0
    assert torch.autograd.grad(loss, h)[0].abs().sum() == 0


def test_half_precision_is_computed_in_single():
    h1, h2 = rand(6, 8).bfloat16(), rand(6, 8, seed=1).bfloat16()
    assert global_info_nce(h1, h2).dtype == mmd(h1, h2).dtype == torch.float32
    assert local_info_nce(rand(2, 4, 16).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: global_info_nce(rand(3, 2), rand(4, 2)), r"\(3, 2\) and \(4, 2\)"),
        (lambda: local_info_nce(rand(2, 3, 8), 16), "16 segments of 8 time steps"),
        (lambda: local_info_nce(rand(2, 3, 8), 3), "at least 4"),
        (lambda: local_info_nce(rand(2, 3)), r"\(B, D, T\)"),
        (lambda: mmd(rand(2, 3), rand(2, 4)), r"\(2, 3\) and \(2, 4\)"),
    ],
)
def test_shapes_that_cannot_be(call, said):
    with pytest.raises(ValueError, match=said):
        call()
