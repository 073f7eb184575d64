"""Any network under the suite's protocol: named in a config by its class, trained with a loss by name."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from benchmark.methods.any_network.loss import LOSSES, Loss, house_loss, of_a_library
from benchmark.methods.base import Method, scheduled
from benchmark.methods.faults import find_named, told
from benchmark.pipeline.datasets import Batch
from benchmark.pipeline.preparation import PadToMultiple
from leaderboard.errors import InputError

_SPEC = {"class_path", "init_args"}


class AnyNetwork(Method):
    """A network of any library that maps images (N, C, ...) to logits (N, 1 or 2, ...) of the same size.

    One channel is taken as the logit of lesion, two as those of background and lesion. C is the number of the cohort's
    images (ISLES 2018: 5), times 2 `neighbours` + 1 for slices; the network's own arguments have to say so.

    Args:
        network: ``class_path`` of a class or a function that gives a module, and its ``init_args``.
        loss: a name of `LOSSES`; ``{name: ..., <setting>: ...}``; or ``class_path`` and ``init_args`` of any library's
            loss (`of_a_library`).
        view: ``slices`` for a 2D network, ``volumes`` for a 3D one.
        neighbours: slices on each side as further channels, for slices.
        multiple: height and width are padded to a multiple of it, as the network's scales want.
        slice_multiple: likewise the number of slices, for volumes.
        learning_rate: of AdamW at the start.
        weight_decay: of AdamW.
        decay: the learning rate falls as (1 - progress)^decay; 0 keeps it.
        threshold: lesion is where the probability is greater.
        initial_probability: see `Method`.
        initial_loss_within: see `Method`.
    """

    def __init__(
        self,
        network: dict[str, Any],
        loss: str | dict[str, Any] = "dice_and_cross_entropy",
        view: Literal["slices", "volumes"] = "slices",
        neighbours: int = 0,
        multiple: int = 1,
        slice_multiple: int = 1,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        decay: float = 0.9,
        threshold: float = 0.5,
        initial_probability: float = 0.5,
        initial_loss_within: float = 2.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        limits = {
            "neighbours must be at least 0": neighbours >= 0,
            "neighbours are slices beside a slice, of volumes it must be 0": neighbours == 0 or view == "slices",
            "multiple and slice_multiple must be at least 1": min(multiple, slice_multiple) >= 1,
            "slice_multiple is the depth of volumes, of slices it must be 1": slice_multiple == 1 or view == "volumes",
            "learning_rate must be greater than 0": learning_rate > 0,
            "threshold and initial_probability must lie between 0 and 1": 0 < threshold < 1
            and 0 < initial_probability < 1,
            "initial_loss_within must be at least 1": initial_loss_within >= 1,
        }
        if faults := [f"model.init_args.{rule}: correct the config" for rule, holds in limits.items() if not holds]:
            raise InputError(faults)
        self.view = view
        self.neighbours = neighbours
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decay = decay
        self.threshold = threshold
        self.initial_probability = initial_probability
        self.initial_loss_within = initial_loss_within
        self.preparation = PadToMultiple(multiple, slices=slice_multiple)
        self._name = str(network.get("class_path"))
        built = _built("network", network)
        if not isinstance(built, nn.Module):
            raise InputError(
                f"model.init_args.network: {self._name} gives a {type(built).__name__}, no torch.nn.Module: name a "
                "class of networks"
            )
        self._built = (built,)  # in a tuple it is no part of this module yet: see `configure_model`
        self.criterion: nn.Module | None = None
        self._loss = self._named_loss(loss)

    def _named_loss(self, loss: str | dict[str, Any]) -> Loss:
        if isinstance(loss, dict) and "class_path" in loss:
            criterion = _built("loss", loss)
            if not callable(criterion):
                raise InputError(f"model.init_args.loss: {loss['class_path']} gives nothing that can be called")
            if isinstance(criterion, nn.Module):
                self.criterion = criterion  # it moves with the method, and what it learns is trained
            return of_a_library(criterion)
        settings = {"name": loss} if isinstance(loss, str) else dict(loss)
        name = settings.pop("name", None)
        if name not in LOSSES:
            raise InputError(
                f"model.init_args.loss: there is no loss {name}: choose among {', '.join(LOSSES)}, or give the "
                "class_path of a library's"
            )
        known = LOSSES[name].__kwdefaults__ or {}
        if unknown := settings.keys() - known.keys():
            raise InputError(
                f"model.init_args.loss: {name} has no {', '.join(sorted(unknown))}: "
                + (f"its settings are {', '.join(known)}" if known else "it has no settings")
            )
        return house_loss(name, settings)

    def configure_network(self, channels: int) -> nn.Module:
        """See `Method`; its number of channels is the config's, and told where it does not fit (`origin`)."""
        (network,) = self._built
        return network

    @property
    def origin(self) -> str:
        """See `Method`."""
        inputs = self.data.channels * (2 * self.neighbours + 1)
        slices = f" of {2 * self.neighbours + 1} slices" if self.neighbours else ""
        return f"{self._name}, which is to take {inputs} channels: {self.data.channels} images{slices}; it"

    def forward(self, image: Tensor) -> Tensor:
        """Images as the network takes them -> logits (N, 1 or 2, ...).

        Raises:
            InputError: the network gives something else.
        """
        logits = super().forward(image)
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        wanted = [(len(image), channels, *image.shape[2:]) for channels in (1, 2)]
        if shape not in wanted:
            raise InputError(
                f"{self._name} gives {shape} for images {tuple(image.shape)}, and not {wanted[0]} (the logit of "
                f"lesion) or {wanted[1]} (those of background and lesion): correct its init_args, set multiple where "
                "it rounds sizes, or wrap it in a module of your own"
            )
        return logits

    def loss(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The named loss."""
        return self._loss(logits, batch["reference"], batch["valid"])

    def probability(self, logits: Tensor) -> Tensor:
        """Sigmoid of one channel, or softmax of two."""
        return super().probability(logits) if logits.shape[1] == 1 else logits.float().softmax(dim=1)[:, 1]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with polynomial decay."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        return scheduled(optimizer, lambda progress: (1 - progress) ** self.decay, self.trainer)


def _built(what: str, spec: dict[str, Any]) -> Any:
    """What a class path with its arguments gives.

    Args:
        what: which argument of `AnyNetwork` this is.
        spec: ``class_path`` and, if it takes any, ``init_args``.

    Raises:
        InputError: it cannot be built.
    """
    place = f"model.init_args.{what}"
    arguments = spec.get("init_args") or {}
    if not isinstance(spec.get("class_path"), str) or not isinstance(arguments, dict) or spec.keys() - _SPEC:
        raise InputError(f"{place}: takes class_path and init_args, nothing else: correct the config")
    try:
        found = find_named(spec["class_path"])
    except InputError as error:
        raise InputError(f"{place}: {problem}" for problem in error.problems) from None
    if not callable(found):
        raise InputError(f"{place}: {spec['class_path']} is neither a class nor a function: correct the class path")
    try:
        return found(**arguments)
    except Exception as error:  # a library may do what it likes
        raise InputError(
            f"{place}: {spec['class_path']} cannot be built: {told(error)}: correct its init_args"
        ) from None
