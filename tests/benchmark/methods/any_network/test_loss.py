"""Losses by name: the same for one channel and for two, and padding counts in none."""

from __future__ import annotations

import pytest
import torch
from recipe import batch_of
from torch import Tensor, nn
from torch.nn import functional

from benchmark.methods.any_network.loss import LOSSES, Loss, house_loss, of_a_library, one, two

SHAPES = [(3, 8, 8), (2, 4, 8, 8)]
LIBRARY = of_a_library(nn.BCEWithLogitsLoss())


def logits_of(shape: tuple[int, ...], channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((shape[0], channels, *shape[1:]), generator=generator)


def named(name: str) -> Loss:
    return LIBRARY if name == "a library's" else house_loss(name, {})


@pytest.mark.parametrize("shape", SHAPES, ids=["slices", "volumes"])
@pytest.mark.parametrize("name", LOSSES)
def test_two_channels_have_the_loss_of_their_difference(name: str, shape: tuple[int, ...]) -> None:
    logits, batch = logits_of(shape, 2), batch_of(shape)
    difference = logits[:, 1:] - logits[:, :1]
    both = [named(name)(each, batch["reference"], batch["valid"])["loss"].item() for each in (logits, difference)]
    assert both[0] == pytest.approx(both[1], rel=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", [*LOSSES, "a library's"])
def test_padding_counts_in_no_loss(name: str, channels: int) -> None:
    batch, logits = batch_of((3, 8, 8)), logits_of((3, 8, 8), channels)
    elsewhere = torch.where(batch["valid"][:, None], logits, 50 * torch.randn_like(logits))
    losses = [named(name)(each, batch["reference"], batch["valid"])["loss"].item() for each in (logits, elsewhere)]
    assert losses[0] == losses[1]


def test_the_cross_entropy_is_the_mean_over_what_is_no_padding() -> None:
    batch, logits = batch_of((3, 8, 8)), logits_of((3, 8, 8), 2)
    each = functional.cross_entropy(logits, batch["reference"].long(), reduction="none")
    found = named("cross_entropy")(logits, batch["reference"], batch["valid"])["loss"]
    assert found.item() == pytest.approx(each[batch["valid"]].mean().item(), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_librarys_loss_gets_a_target_of_the_logits_shape(channels: int) -> None:
    seen = []

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        seen.append((logits, target))
        return logits.mean()

    batch, logits = batch_of((3, 8, 8)), logits_of((3, 8, 8), channels)
    of_a_library(criterion)(logits.half(), batch["reference"].byte(), batch["valid"])
    ((given, target),) = seen
    assert given.dtype == target.dtype == torch.float32
    assert target.shape == logits.shape
    assert torch.equal(target[:, -1], batch["reference"])
    assert torch.equal(target.sum(dim=1), torch.ones(3, 8, 8) if channels == 2 else batch["reference"])


@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="sum")])
def test_padding_adds_nothing_to_a_librarys_sum(criterion: nn.Module) -> None:
    batch = batch_of((3, 8, 8))
    logits = logits_of((3, 8, 8), 2 if isinstance(criterion, nn.CrossEntropyLoss) else 1)
    each = functional.cross_entropy(two(logits), batch["reference"].long(), reduction="none")
    found = of_a_library(criterion)(logits, batch["reference"], batch["valid"])["loss"]
    assert found.item() == pytest.approx(each[batch["valid"]].sum().item(), rel=1e-4)


def test_one_channel_and_two_say_the_same_probability() -> None:
    logits = logits_of((3, 8, 8), 2)
    assert torch.allclose(one(logits)[:, 0].sigmoid(), logits.softmax(dim=1)[:, 1], atol=1e-6)
    assert torch.allclose(two(logits[:, :1]).softmax(dim=1)[:, 1], logits[:, 0].sigmoid(), atol=1e-6)
