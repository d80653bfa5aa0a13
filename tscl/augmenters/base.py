"""What an augmenter is, and how several become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tscl.errors import ConfigError
from tscl.types import View


class Augmenter(nn.Module):
    """Make one version of a batch from another. A subclass writes ``forward``.

    Randomness comes from torch's generator of the tensor's device, which the learner seeds at every step.

    An augmenter that learns has parameters, names the terms of its own loss and computes them; the learner finds it,
    also within others, and trains it with an optimizer of its own.

    Attributes
    ----------
    lr : float
        Learning rate, for one that learns.
    every : int
        Steps of the encoder for one of the augmenter.
    """

    lr: float = 0.01
    every: int = 1

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the augmenter's own loss; none where there is nothing to learn."""
        return ()

    def build(self, in_channels: int) -> None:
        """Make what depends on the number of channels; called once before training."""

    def loss_terms(
        self, first: View, second: View, z1: Tensor, z2: Tensor, contrast: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Return the terms whose sum the augmenter learns from.

        Parameters
        ----------
        first, second : View
            A pair that :meth:`pair` returned.
        z1, z2 : Tensor, shape (B, D, T')
            Their embeddings by the encoder, which is not trained in this step.
        contrast : callable
            Computes the weighted loss of the heads that compare this pair, a scalar.

        Returns
        -------
        dict of str to Tensor, scalars
            With the names of :attr:`terms`.
        """
        return {}

    def forward(self, view: View) -> View:
        """Return a new view; the given one is not changed."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(view).")

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Return the two views that are contrasted: each augmented on its own unless coupled."""
        return self(first), self(second)


class Identity(Augmenter):
    """Leave the batch as it is: the two views differ by the encoder's dropout only (COMET's clean pair)."""

    def forward(self, view: View) -> View:
        """Return the view itself."""
        return view


class Compose(Augmenter):
    """One augmenter after the other.

    Parameters
    ----------
    augmenters : sequence of Augmenter
        Applied in this order.
    """

    def __init__(self, augmenters: Sequence[Augmenter]) -> None:
        super().__init__()
        self.augmenters = nn.ModuleList(augmenters)

    def forward(self, view: View) -> View:
        """Apply all of them."""
        for augmenter in self.augmenters:
            view = augmenter(view)
        return view

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Apply all of them to a pair."""
        for augmenter in self.augmenters:
            first, second = augmenter.pair(first, second)
        return first, second


class OneOf(Augmenter):
    """One of several augmenters, drawn anew for every window and each side of a pair.

    All of them run on the whole batch and each window keeps one result, so none may change the length.

    Parameters
    ----------
    augmenters : sequence of Augmenter
        At least one.
    weights : sequence of float, optional
        How often each is drawn, one number an augmenter, at least 0; equally often by default.

    Raises
    ------
    ConfigError
        When there is no augmenter, the weights do not fit, or, in use, an augmenter changes the length of the windows.

    Examples
    --------
    >>> import torch
    >>> from tscl.augmenters import Jitter, OneOf, TimeReversal
    >>> from tscl.types import View
    >>> OneOf([Jitter(0.1), TimeReversal()], weights=[3, 1])(View(torch.zeros(8, 2, 50))).x.shape
    torch.Size([8, 2, 50])
    """

    def __init__(self, augmenters: Sequence[Augmenter], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(augmenters) if weights is None else [float(weight) for weight in weights]
        if not augmenters or len(weights) != len(augmenters) or not min(weights) >= 0 or not sum(weights) > 0:
            raise ConfigError(
                f"OneOf got {len(augmenters)} augmenters and weights {weights}: give at least one augmenter, and a "
                "weight of at least 0 for each, not all 0."
            )
        self.augmenters = nn.ModuleList(augmenters)
        self.weights = weights

    def forward(self, view: View) -> View:
        """Return the view, each window augmented by one of them."""
        return self._choose([augmenter(view) for augmenter in self.augmenters], view)

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Let each window of either side have one of the pairs that the augmenters make."""
        pairs = [augmenter.pair(first, second) for augmenter in self.augmenters]
        return self._choose([left for left, _ in pairs], first), self._choose([right for _, right in pairs], second)

    def _choose(self, made: list[View], view: View) -> View:
        weights = torch.tensor(self.weights, device=view.x.device)
        return pick_windows(made, torch.multinomial(weights, len(view.x), replacement=True), view)


class RandomApply(Augmenter):
    """Augment a window with some probability, and leave it as it is otherwise; drawn for each side of a pair.

    Parameters
    ----------
    augmenter : Augmenter
        It runs on the whole batch and must not change its length.
    p : float
        Probability that a window is augmented.

    Raises
    ------
    ConfigError
        When ``p`` is no probability, or, in use, the augmenter changes the length of the windows.
    """

    def __init__(self, augmenter: Augmenter, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"RandomApply: p is {p}, it must be a probability from 0 to 1.")
        self.augmenter = augmenter
        self.p = p

    def forward(self, view: View) -> View:
        """Return the view, some of its windows augmented."""
        return self._choose(self.augmenter(view), view)

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Let some windows of either side have what the augmenter makes of the pair."""
        left, right = self.augmenter.pair(first, second)
        return self._choose(left, first), self._choose(right, second)

    def _choose(self, made: View, view: View) -> View:
        chosen = torch.rand(len(view.x), device=view.x.device) < self.p
        return pick_windows([view, made], chosen.long(), view)


class TwoSided(Augmenter):
    """One augmenter for the first view of a pair, another for the second.

    A single view (``forward``) gets the first.

    Parameters
    ----------
    first, second : Augmenter
        Neither may couple the two views, as crops do.
    """

    def __init__(self, first: Augmenter, second: Augmenter) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, view: View) -> View:
        """Return what the first augmenter makes."""
        return self.first(view)

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Return what either augmenter makes of its side."""
        return self.first(first), self.second(second)


def pick_windows(made: Sequence[View], choice: Tensor, given: View) -> View:
    """Put a view together from windows of several.

    Parameters
    ----------
    made : sequence of View
        Versions of one batch.
    choice : Tensor, shape (B,), int64
        From which of them each window is taken.
    given : View
        The view that they were made of, for its shape and span.

    Raises
    ------
    ConfigError
        When they differ in length or span: windows of different crops cannot be mixed.
    """
    if any(view.x.shape != given.x.shape or view.span != given.span for view in made):
        raise ConfigError(
            "an augmenter that crops its windows cannot be drawn a window at a time: keep it out of OneOf and "
            "RandomApply, and put it before or after them in Compose."
        )
    picked = {name: _pick([getattr(view, name) for view in made], choice) for name in View._fields if name != "span"}
    return given._replace(**picked)


def _pick(values: Sequence[Tensor | None], choice: Tensor) -> Tensor | None:
    """Pick windows from tensors of shape (B, ...); None stands for a mask that keeps everything."""
    if all(value is values[0] for value in values):
        return values[0]
    dims = max(value.ndim for value in values if value is not None)
    like = next(value for value in values if value is not None and value.ndim == dims)
    picked = like
    for number, value in enumerate(values):
        full = torch.ones_like(like) if value is None else value if value.ndim == dims else value[:, None]
        picked = torch.where((choice == number).view(-1, *[1] * (dims - 1)), full, picked)
    return picked
