"""The losses as a reader of the papers would write them first: loops, one pair at a time, double precision."""

import torch


def cross_entropy(anchor, positive, others):
    """-log softmax of the positive among all others (the positive included)."""
    scores = torch.stack([anchor @ other for other in others])
    return torch.logsumexp(scores, 0) - anchor @ positive


def observation(z1, z2):
    terms = []
    for a, b in zip(z1, z2, strict=True):
        steps = [*a.T, *b.T]
        half = len(steps) // 2
        for i, anchor in enumerate(steps):
            others = [s for j, s in enumerate(steps) if j != i]
            terms.append(
                cross_entropy(anchor, steps[(i + half) % len(steps)], others) if half > 1 else anchor.sum() * 0
            )
    return torch.stack(terms).mean()


def sample(z1, z2):
    return observation(z1.permute(2, 1, 0), z2.permute(2, 1, 0))


def pool(z):
    pairs = [z[:, :, 2 * i : 2 * i + 2].amax(2) for i in range(z.shape[2] // 2)]
    return torch.stack(pairs, dim=2) if pairs else z[:, :, :0]


def multiscale(loss, z1, z2):
    terms = [loss(z1, z2)]
    while (z1 := pool(z1)).shape[2] > 1:
        z2 = pool(z2)
        terms.append(loss(z1, z2))
    return torch.stack(terms).mean()


def hierarchical(z1, z2, alpha, temporal_unit):
    terms, scale = [], 0
    while True:
        term = alpha * sample(z1, z2)
        if z1.shape[2] > 1 and scale >= temporal_unit:
            term = term + (1 - alpha) * observation(z1, z2)
        terms.append(term)
        scale += 1
        if z1.shape[2] == 1:
            return torch.stack(terms).mean()
        z1, z2 = pool(z1), pool(z2)


def group(z1, z2, ids, temperature):
    def vector(z):
        flat = torch.cat([row / row.norm() for row in z])
        return flat / flat.norm()

    h1, h2 = [vector(z) for z in z1], [vector(z) for z in z2]
    above, below = [], []
    for i, first in enumerate(ids):
        for j, second in enumerate(ids):
            if i == j or first != second or first < 0:
                continue
            score = h1[i] @ h2[j] / temperature
            if i < j:
                above.append(torch.logsumexp(torch.stack([h1[i] @ h / temperature for h in h2]), 0) - score)
            else:
                below.append(torch.logsumexp(torch.stack([h @ h2[j] / temperature for h in h1]), 0) - score)
    if not above:
        return (z1 + z2).sum() * 0
    return (torch.stack(above).mean() + torch.stack(below).mean()) / 2


def nt_xent(h1, h2, temperature):
    z1, z2 = (h / h.norm(dim=1, keepdim=True) / temperature**0.5 for h in (h1, h2))
    return observation(z1.T[None], z2.T[None])


def clip(z, speech, negatives=None, ids=None, log_scale=None, symmetric=False):
    windows = [window.flatten() for window in z]
    if log_scale is not None:
        windows = [window / window.norm() * log_scale.exp() for window in windows]
    own, more = (
        [y.flatten() / y.flatten().norm() for y in given] for given in (speech, [] if negatives is None else negatives)
    )

    def rivals(i, among):
        return [one for j, one in enumerate(among) if j == i or ids is None or ids[j] != ids[i]]

    loss = torch.stack([cross_entropy(a, own[i], rivals(i, own) + more) for i, a in enumerate(windows)]).mean()
    if not symmetric:
        return loss
    back = torch.stack([cross_entropy(y, windows[i], rivals(i, windows)) for i, y in enumerate(own)]).mean()
    return (loss + back) / 2


def siglip(z, speech, log_scale, bias, ids=None):
    total = z.sum() * 0
    for i, window in enumerate(z):
        for j, stretch in enumerate(speech):
            if i != j and ids is not None and ids[i] == ids[j]:
                continue
            cosine = (window * stretch).sum() / (window.norm() * stretch.norm())
            judged = torch.sigmoid((1 if i == j else -1) * (cosine * log_scale.exp() + bias))
            total = total - judged.log()
    return total / len(z)
