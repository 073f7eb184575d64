"""Batch normalisation by the statistics of all processes' batches, on CPUs.

torch's own refuses CPUs; with this, tests of several processes need no GPU. Layers and the names of their weights stay
what they are: a checkpoint loads either way.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.methods.distributed import summed, world_size


class SyncBatchNorms(TorchSyncBatchNorm):
    """Lightning's plugin behind ``sync_batchnorm``, for CPUs.

    Lightning applies it where a fit has several processes, and reverts it after the fit.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Make each batch normalisation of a model one over all processes."""
        synchronise(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Make them ordinary ones."""
        for layer in model.modules():
            vars(layer).pop("forward", None)
        return super().revert(model)


def synchronise(model: nn.Module) -> None:
    """Let each batch normalisation of a model use `normalise_together` while it trains."""
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = functools.partial(normalise_together, layer)  # type: ignore[method-assign]


def normalise_together(layer: _BatchNorm, batch: Tensor) -> Tensor:
    """A layer's normalisation by mean and variance over the batches of all processes, in float32.

    Args:
        layer: its weights, and its running statistics, which follow as in one process.
        batch: (N, C, ...), N of this process; the others' may differ.

    Returns:
        The same shape and type.
    """
    if not layer.training:
        return type(layer).forward(layer, batch)
    channels = batch.shape[1]
    variance, mean = torch.var_mean(batch.float(), dim=[0, *range(2, batch.ndim)], correction=0)
    count = mean.new_full((1,), batch.numel() / channels)
    means, variances, counts = gathered(torch.cat([mean, variance, count])).split([channels, channels, 1], dim=1)
    share = counts / counts.sum()
    mean = (share * means).sum(dim=0)
    variance = (share * (variances + (means - mean) ** 2)).sum(dim=0)  # within the processes and between them
    _follow(layer, mean.detach(), variance.detach(), float(counts.detach().sum()))
    scale, shift = (variance + layer.eps).rsqrt(), torch.zeros_like(mean)
    if layer.affine:
        scale, shift = scale * layer.weight, layer.bias
    axes = (channels, *(1,) * (batch.ndim - 2))
    return ((batch.float() - mean.view(axes)) * scale.view(axes) + shift.view(axes)).to(batch.dtype)


def gathered(part: Tensor) -> Tensor:
    """Every process's tensor, stacked in their order along a new first axis.

    Args:
        part: of the same shape and type on every process.
    """
    if world_size() == 1:
        return part[None]
    place = torch.zeros(world_size(), device=part.device, dtype=part.dtype)
    place[distributed.get_rank()] = 1
    (everyones,) = summed(torch.tensordot(place, part, dims=0))  # the others' places hold zeros
    return everyones


def _follow(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    """Update the running statistics; their variance is the unbiased one."""
    if layer.running_mean is None or layer.running_var is None or layer.num_batches_tracked is None:
        return
    layer.num_batches_tracked.add_(1)
    momentum = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean, momentum)
    layer.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)


def with_support(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose processes find what tests share."""
    places = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, places))}
