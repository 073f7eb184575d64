"""Losses and batch normalisation of two processes with a part of the batch each are those of one with all of it.

Run as a script, this file is what the processes do.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sync_norm import SyncBatchNorms, synchronise, with_support
from torch import Tensor, distributed, nn

from benchmark.methods.distributed import largest
from benchmark.methods.fcn3d_crf.loss import cross_entropy_and_soft_dice
from benchmark.methods.losses import focal, generalised_dice, weighted_cross_entropy
from benchmark.methods.ms_dcnn import loss as ms_dcnn
from benchmark.methods.ms_dcnn.network import DenseBlock
from benchmark.methods.multiscale_resnet.loss import multiscale_dice
from benchmark.methods.plain_unet.loss import deep_supervision

#: Every loss of a method that is trained: logits (N, 2, ...), reference and valid (N, ...) -> scalar.
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "generalised_dice": generalised_dice,
    "weighted_cross_entropy": lambda *batch: weighted_cross_entropy(*batch, 5.0),
    "focal": lambda x, *batch: focal(x[:, :1], *batch, alpha=0.75, gamma=2.0),
    "fcn3d_crf": lambda x, *batch: sum(cross_entropy_and_soft_dice(x[:, :1], *batch), torch.zeros(())),
    "ms_dcnn": lambda x, *batch: ms_dcnn.dice(x[:, :1], *batch),
    "ms_dcnn cross-entropy": lambda x, *batch: ms_dcnn.cross_entropy(x[:, :1], *batch),
    "multiscale_resnet": lambda x, *batch: multiscale_dice([x, x[:, :, ::2, ::2]], *batch, lesion_prior=0.1),
    "plain_unet 2D": lambda x, *batch: deep_supervision([x, x[:, :, ::2, ::2]], *batch, batch_dice=True)["loss"],
    "plain_unet 3D": lambda x, *batch: deep_supervision([x, x[:, :, ::2, ::2]], *batch, batch_dice=False)["loss"],
}


def unequal_samples() -> tuple[Tensor, Tensor, Tensor]:
    """Four samples with very different lesions, one of them none, and different padding."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2, 8, 8, generator=generator)
    reference = (torch.rand(4, 8, 8, generator=generator) > torch.tensor([0.2, 0.9, 0.5, 1])[:, None, None]).byte()
    valid = torch.ones(4, 8, 8, dtype=torch.bool)
    valid[1, 4:] = valid[2, :, 6:] = False
    return logits, reference * valid, valid


def value_and_gradient(name: str, logits: Tensor, reference: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = LOSSES[name](logits, reference, valid)
    value.backward()
    assert logits.grad is not None
    return value.detach(), logits.grad


#: What normalises, the shape of the whole batch and its type.
NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], torch.dtype]] = {
    "2D": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6), torch.float32),
    "3D": (lambda: nn.BatchNorm3d(3), (4, 3, 2, 5, 6), torch.float32),
    "bfloat16": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 6), torch.bfloat16),
    "mean of all batches": (lambda: nn.BatchNorm2d(3, momentum=None), (4, 3, 5, 6), torch.float32),
    "without weights": (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 6), torch.float32),
    # The second pass over a batch, in the backward pass, does not count for the running statistics.
    "computed again": (lambda: DenseBlock(3, 1, 0.0, checkpointed=True), (4, 3, 5, 6), torch.float32),
}


def normalised(norm: nn.Module, shape: tuple[int, ...], kind: torch.dtype, part: slice) -> dict[str, Tensor]:
    """What a batch normalisation gives for a part of the third of three batches, its gradients and its statistics."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in norm.parameters():
            weight.uniform_(0.5, 1.5)
    spread = torch.tensor([1.0, 5, 0.1]).view(3, *(1,) * (len(shape) - 2))
    for _ in range(3):
        x = (torch.randn(shape) * spread + 2).to(kind)[part].contiguous(memory_format=MEMORY[len(shape)])
        y = norm(x.requires_grad_())
        norm.zero_grad()
        (y.float() * torch.randn(shape[:1] + y.shape[1:])[part]).sum().backward()
    assert x.grad is not None
    gradients = {f"gradient of {name}": weight.grad for name, weight in norm.named_parameters()}
    return {"output": y.detach(), "gradient": x.grad, **gradients, **norm.state_dict()}


MEMORY = {4: torch.channels_last, 5: torch.channels_last_3d}
#: The first process has three of the four samples.
SHARES = (slice(0, 3), slice(3, 4))


def exchange(folder: Path, rank: int) -> None:
    """What each of two processes does with its part."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    half = slice(2 * rank, 2 * rank + 2)
    samples = [part[half] for part in unequal_samples()]
    found: dict[str, Any] = {name: value_and_gradient(name, *samples) for name in LOSSES}
    for name, (make, shape, kind) in NORMS.items():
        norm = make()
        synchronise(norm)
        found[name] = normalised(norm, shape, kind, SHARES[rank])
    found["largest"] = largest([3 + rank, 5 - rank], torch.device("cpu"))
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes found."""
    folder = tmp_path_factory.mktemp("exchange")
    command = [sys.executable, __file__, str(folder)]
    running = [subprocess.Popen([*command, str(rank)], env=with_support(os.environ)) for rank in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_loss_and_the_gradient_of_one_with_both_their_batches(
    exchanged: list[dict[str, Any]], name: str
) -> None:
    value, gradient = value_and_gradient(name, *unequal_samples())
    # DistributedDataParallel takes the mean over the processes, of the gradient; Lightning of what is logged.
    torch.testing.assert_close(sum(half[name][0] for half in exchanged) / 2, value)
    torch.testing.assert_close(torch.cat([half[name][1] for half in exchanged]) / 2, gradient)


@pytest.mark.parametrize("name", NORMS)
def test_batch_normalisation_over_two_unequal_processes_is_that_of_the_whole_batch(
    exchanged: list[dict[str, Any]], name: str
) -> None:
    make, shape, kind = NORMS[name]
    whole = normalised(make(), shape, kind, slice(None))
    parts = [half[name] for half in exchanged]
    assert [list(part) for part in parts] == [list(whole)] * 2  # the same names in a checkpoint
    tolerance = 1e-5 if kind is torch.float32 else 1e-2
    for key, expected in whole.items():
        if key in ("output", "gradient"):
            found = torch.cat([part[key] for part in parts])
            assert found.is_contiguous(memory_format=MEMORY[len(shape)])
        elif key.startswith("gradient of"):
            found = parts[0][key] + parts[1][key]
        else:
            found = parts[0][key]
            assert torch.equal(found, parts[1][key])
        assert found.dtype == expected.dtype
        largest_error = float((found - expected).abs().max())
        assert largest_error <= tolerance * max(float(expected.abs().max()), 1e-3), key


def test_after_a_fit_the_normalisation_is_an_ordinary_one_with_the_same_weights() -> None:
    model, x = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.BatchNorm2d(3))), torch.randn(2, 2, 4, 4)
    plain = copy.deepcopy(model)
    synchronise(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(model(x), plain(x))
    assert torch.equal(model.eval()(x), model[1](model[0](x)))
    together = model.train()(x)
    SyncBatchNorms().revert(model)
    assert "forward" not in vars(model[1][0])
    plain(x)
    for before, after in zip(plain.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(after, before)
    torch.testing.assert_close(model(x), together)


def test_processes_agree_on_the_largest_of_each_size(exchanged: list[dict[str, Any]]) -> None:
    assert [half["largest"] for half in exchanged] == [[4, 5], [4, 5]]
    assert largest([3, 5], torch.device("cpu")) == [3, 5]


if __name__ == "__main__":
    exchange(Path(sys.argv[1]), int(sys.argv[2]))
