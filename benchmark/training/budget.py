"""What a training takes, however quick the machine: optimiser steps, slices seen, multiplications."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from benchmark.methods.base import Method, RuleMethod
from benchmark.pipeline.datasets import TrainingBatches
from benchmark.rundir.names import BUDGET
from benchmark.training.multiplications import gmac_of

#: Of the multiplications of a training step, in those of the network's pass: the pass itself, the gradient of every
#: layer's input, and that of its weights. Nominal: operations of the recipe, recomputation not counted.
PASSES_A_STEP = 3

#: Shape of the images that a network is given, (N, C, [D,] h, w).
Shape = tuple[int, ...]


class CountTraining(pl.Callback):
    """Counts what a training takes; its state is in the checkpoints, so that a restart counts on.

    A rule without weights takes nothing.

    Attributes:
        slices: seen so far by all processes together: those of every sample served, each time that it is served. A
            volume is as many slices as its case has; a slice's neighbours, and what fills up a batch of volumes of
            different depths, do not count; a crop counts like the slice that it is cut from.
        batches: how many batches of each shape the network of this process was given in training.
        whole: the training was counted from its first step on.
    """

    def __init__(self) -> None:
        self.slices = 0
        self.batches: dict[Shape, int] = {}
        self.whole = False
        self._hook: RemovableHandle | None = None

    def state_dict(self) -> dict[str, Any]:
        """See `pl.Callback`."""
        return {"slices": self.slices, "batches": self.batches, "whole": self.whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `pl.Callback`."""
        self.slices, self.batches = state_dict["slices"], dict(state_dict["batches"])
        self.whole = state_dict["whole"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Note the shape of whatever the network is given, which is padded to the largest of all processes."""
        self.whole = self.whole or trainer.global_step == 0

        def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            # Lightning calls a module that trains in several processes with the batch, which calls itself with images.
            image = next(iter((*inputs, *named.values())), None)
            if module.training and isinstance(image, torch.Tensor):
                shape = tuple(image.shape)
                self.batches[shape] = self.batches.get(shape, 0) + 1

        self._hook = module.register_forward_pre_hook(note, with_kwargs=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the slices of the global batch."""
        if not isinstance(module, RuleMethod):
            loader = cast(TrainingBatches, trainer.train_dataloader)
            cases = loader.samples.store.cases
            for key in loader.sampler.whole(batch_idx):
                self.slices += cases[key.case].depth if key.slices is None else len(key.slices)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Forget the network."""
        if self._hook:
            self._hook.remove()

    def budget(self, trainer: pl.Trainer, method: Method) -> dict[str, Any]:
        """What the training that has just ended took.

        Returns:
            `BUDGET`: steps of the optimiser; slices; 10^9 multiply-accumulates of all processes, which are
            `PASSES_A_STEP` times those of the network's pass over each batch, or None for a network that cannot be
            counted. All None for a training that was begun by a version that counted nothing.
        """
        if isinstance(method, RuleMethod):
            return dict.fromkeys(BUDGET, 0)
        if not self.whole:
            return dict.fromkeys(BUDGET)
        gmac = pass_gmac(method.network, self.batches)
        together = None if gmac is None else round(PASSES_A_STEP * trainer.world_size * gmac, 6)
        return dict(zip(BUDGET, (trainer.global_step, self.slices, together), strict=True))


def pass_gmac(network: nn.Module, batches: dict[Shape, int]) -> float | None:
    """10^9 multiply-accumulates of a network's training passes over batches, without computing any.

    Counted by `gmac_of`.

    Args:
        network: left as it is.
        batches: how many of each shape.

    Returns:
        None if the network does not run on torch's ``meta`` device, as one that asks for a value.
    """
    total = 0.0
    try:
        ghost = ghost_of(network).train()
        for shape, count in batches.items():
            image = torch.empty(shape, device="meta")
            with torch.no_grad():
                total += count * gmac_of(lambda image=image: ghost(image))  # type: ignore[misc]
    except Exception:  # a user's network may do what it likes
        return None
    return total


def ghost_of(network: nn.Module) -> nn.Module:
    """A copy of a network on torch's ``meta`` device; its weights and buffers are never copied on their own device."""
    twins: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to("meta"), requires_grad=weight.requires_grad)
        for weight in network.parameters()
    }
    twins |= {id(buffer): buffer.detach().to("meta") for buffer in network.buffers()}
    return copy.deepcopy(network, twins).to("meta")
