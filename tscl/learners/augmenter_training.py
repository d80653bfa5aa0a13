"""The second optimizer: augmenters that learn, trained in turn with the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from tscl.augmenters import Augmenter
from tscl.types import View

Attempt = Callable[[str], tuple[View, View, Tensor, Tensor, Callable[[], Tensor]]]


def learning_augmenters(views: nn.ModuleDict) -> dict[str, Augmenter]:
    """Return the augmenters that learn, by the name of their view pair; inside another one they count as well.

    Raises
    ------
    ValueError
        When a view pair has two of them.
    """
    found: dict[str, Augmenter] = {}
    for name, view in views.items():
        learning = [one for one in view.modules() if isinstance(one, Augmenter) and one.terms]
        if len(learning) > 1:
            raise ValueError(f"the view {name!r} has {len(learning)} augmenters that learn: use one a view.")
        if learning:
            found[name] = learning[0]
    return found


class AugmenterTraining:
    """Steps of the augmenters, each with its own learning rate, between those of the encoder.

    Parameters
    ----------
    augmenters : mapping of str to Augmenter
        Built augmenters that learn, by the name of their view pair.
    average : callable
        Averages a tensor over processes.
    """

    def __init__(self, augmenters: Mapping[str, Augmenter], average: Callable[[Tensor], Tensor]) -> None:
        self.augmenters = dict(augmenters)
        self.average = average
        groups = [{"params": list(one.parameters()), "lr": one.lr} for one in self.augmenters.values()]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)

    def step(self, encoder: nn.Module, attempt: Attempt, step: int) -> dict[str, Tensor]:
        """Train the augmenters whose turn it is.

        Parameters
        ----------
        encoder : nn.Module
            Kept as it is, in eval mode.
        attempt : callable
            Makes and encodes the named view pair: two views, two embeddings, and what computes the heads' loss.
        step : int
            Number of the encoder's step.

        Returns
        -------
        dict of str to Tensor, scalars
            Every term of the loss as ``<view>/<term>``, detached; none when it is nobody's turn.
        """
        said: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for name, augmenter in self.augmenters.items():
            if step % augmenter.every:
                continue
            with _frozen(encoder), torch.enable_grad():
                terms = augmenter.loss_terms(*attempt(name))
                loss = torch.stack(list(terms.values())).sum()
            parameters = list(augmenter.parameters())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            joined = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = joined.split([parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.grad = part.view_as(parameter)
            said |= {f"{name}/{term}": value.detach() for term, value in terms.items()}
        if said:
            self.optimizer.step()
        return said

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.optimizer.load_state_dict(cast("dict[str, Any]", state))


@contextmanager
def _frozen(encoder: nn.Module) -> Iterator[None]:
    """Keep gradients and dropout out of the encoder."""
    modes: Sequence[tuple[nn.Module, bool]] = [(module, module.training) for module in encoder.modules()]
    learned = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    encoder.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for module, training in modes:
            module.training = training
