"""The augmenter of AutoTCL: which part of a signal to keep, and how to change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from tscl.augmenters.base import Augmenter
from tscl.augmenters.parametric.gates import HardConcrete
from tscl.encoders import DilatedConvEncoder
from tscl.functional import mmd, pool_time
from tscl.types import View

START = 2.0
"""Log-odds with which a new mask keeps a step: training begins near the signal itself and takes away from there."""

TrunkFactory = Callable[[int], nn.Module]


class ParametricAugmenter(Augmenter):
    """Learn a mask h(x) and a transform g(x); the view is ``g(x) * h(x) * x`` (Zheng et al., AutoTCL, ICLR 2024).

    A network shared by both gives, per time step, the log-odds of keeping it and, per channel and step, a factor
    between 1/e and e, which is never 0, so that what is kept can be recovered. In a pair the first view stays as it is.

    The augmenter is trained by the learner, with an optimizer of its own. Its objective is the principle of relevant
    information: the embeddings of signals and views shall have one distribution (``mmd``), while the mask keeps no more
    than a share ``threshold`` of the steps (``mask``) and changes seldom (``temporal``). Or it is the adversary of the
    heads that contrast its views, with the same two terms on the mask.

    Parameters
    ----------
    trunk : nn.Module, callable or None
        The network ``(B, C, T) -> (B, D, T)`` with an attribute ``dim``, or what builds one from the number of
        channels; by default a small :class:`tscl.encoders.DilatedConvEncoder`.
    objective : {"pri", "adversarial"}
        Relevant information, or the heads' loss turned around.
    use_mask, use_transform : bool
        Without the mask every step is kept; without the transform nothing is changed. (The paper's ablations.)
    mmd_weight : float
        Weight of the distance between the distributions; 0 leaves it out.
    mask_weight : float
        Weight of the hinge on the mask's mean (beta in the paper).
    threshold : float
        Share of the time steps that may be kept at no cost.
    temporal_weight : float
        Weight of the mean difference between the gates of neighbouring time steps.
    temperature, stretch, bias, straight_through
        Of the gates, see :class:`HardConcrete`.
    noise : float
        Standard deviation of white noise in place of what the mask removes, in the unit of the signal.
    lr : float
        Learning rate of the augmenter's AdamW.
    every : int
        Steps of the encoder for one of the augmenter (M in the paper).

    Attributes
    ----------
    gates : HardConcrete

    Examples
    --------
    >>> import torch
    >>> from tscl import View
    >>> from tscl.augmenters import ParametricAugmenter
    >>> augmenter = ParametricAugmenter()
    >>> augmenter.build(in_channels=2)
    >>> view = augmenter(View(torch.randn(4, 2, 50)))
    >>> view.x.shape, view.kept.shape
    (torch.Size([4, 2, 50]), torch.Size([4, 50]))
    """

    def __init__(
        self,
        trunk: nn.Module | TrunkFactory | None = None,
        objective: Literal["pri", "adversarial"] = "pri",
        use_mask: bool = True,
        use_transform: bool = True,
        mmd_weight: float = 1.0,
        mask_weight: float = 1.0,
        threshold: float = 0.4,
        temporal_weight: float = 0.0,
        temperature: float = 1.0,
        stretch: float = 0.05,
        bias: float = 0.05,
        straight_through: bool = True,
        noise: float = 0.0,
        lr: float = 0.01,
        every: int = 1,
    ) -> None:
        super().__init__()
        if objective not in ("pri", "adversarial"):
            raise ValueError(f"unknown objective {objective!r}: use pri or adversarial.")
        if not (use_mask or use_transform):
            raise ValueError("neither mask nor transform is used: there is nothing to learn; use Identity instead.")
        if every < 1:
            raise ValueError(f"every is {every}: the augmenter takes a step every 1, 2, ... steps of the encoder.")
        self.trunk = trunk if isinstance(trunk, nn.Module) else None
        self._factory = None if isinstance(trunk, nn.Module) else trunk
        self.mask_head: nn.Module | None = None
        self.transform_head: nn.Module | None = None
        self.gates = HardConcrete(temperature, stretch, bias, straight_through)
        self.objective = objective
        self.use_mask = use_mask
        self.use_transform = use_transform
        weights = {"mmd": mmd_weight if objective == "pri" else 0.0}
        if use_mask:
            weights |= {"mask": mask_weight, "temporal": temporal_weight}
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        if not self.terms:
            raise ValueError("all weights of the augmenter's loss are 0: nothing would train it; raise one of them.")
        self.threshold = threshold
        self.noise = noise
        self.lr = lr
        self.every = every

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms of the augmenter's loss."""
        return (*self.weights, *(("adversarial",) if self.objective == "adversarial" else ()))

    def build(self, in_channels: int) -> None:
        """Build the network for signals of ``in_channels`` channels; does nothing when it is there."""
        if self.mask_head is not None or self.transform_head is not None:
            return
        if self.trunk is None:
            factory = self._factory or _default_trunk
            self.trunk = factory(in_channels)
        dim = int(self.trunk.dim)
        self.mask_head = nn.Conv1d(dim, 1, 1) if self.use_mask else None
        if self.mask_head is not None:
            nn.init.constant_(self.mask_head.bias, START)
        self.transform_head = nn.Conv1d(dim, in_channels, 1) if self.use_transform else None

    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is kept and how it is changed.

        Parameters
        ----------
        x : Tensor, shape (B, C, T), floating
            Signals; NaN marks missing values.

        Returns
        -------
        mask : Tensor, shape (B, T)
            Drawn gates from 0 (removed) to 1 (kept) in training mode, the probability of being kept in eval mode; all
            1 without a mask.
        transform : Tensor, shape (B, C, T)
            Factors; all 1 without a transform.

        Raises
        ------
        RuntimeError
            Before :meth:`build`.
        ValueError
            When the trunk does not give one vector a time step.
        """
        if self.trunk is None or (self.mask_head is None and self.transform_head is None):
            raise RuntimeError("the augmenter is not built yet: call build(in_channels) first.")
        features = self.trunk(x)
        if features.shape[2] != x.shape[2]:
            raise ValueError(
                f"the trunk gives {features.shape[2]} steps for {x.shape[2]}: take one that keeps the time steps."
            )
        mask, transform = torch.ones_like(x[:, 0]), torch.ones_like(x)
        if self.mask_head is not None:
            mask = self.gates(self.mask_head(features)[:, 0].float())
        if self.transform_head is not None:
            transform = self.transform_head(features).float().tanh().exp()
        return mask, transform

    def forward(self, view: View) -> View:
        """Return the learned view; a missing value stays missing."""
        mask, transform = self.explain(view.x)
        missing = view.x.isnan()
        x = transform * mask[:, None] * view.x.masked_fill(missing, 0.0)
        if self.noise > 0:
            x = x + self.noise * (1 - mask[:, None]) * torch.randn_like(x)
        return view._replace(x=x.masked_fill(missing, torch.nan), kept=mask if self.use_mask else None)

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Return the signals as they are and their learned view."""
        return first, self(second)

    def loss_terms(
        self, first: View, second: View, z1: Tensor, z2: Tensor, contrast: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """Return the weighted terms of the augmenter's loss; see :meth:`Augmenter.loss_terms`."""
        terms = {}
        if "mmd" in self.weights:
            terms["mmd"] = mmd(pool_time(z1), pool_time(z2))
        if second.kept is not None:
            terms["mask"] = (second.kept.mean() - self.threshold).relu()
            terms["temporal"] = second.kept.diff(dim=1).abs().mean()
        terms = {name: weight * terms[name] for name, weight in self.weights.items()}
        if self.objective == "adversarial":
            terms["adversarial"] = -contrast()
        return terms


def _default_trunk(in_channels: int) -> nn.Module:
    return DilatedConvEncoder(in_channels, dim=32, hidden=32, depth=4, dropout=0.0)
